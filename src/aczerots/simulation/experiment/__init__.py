"""Experiments: a grid of simulated runs, its table, its statistics, its page."""
