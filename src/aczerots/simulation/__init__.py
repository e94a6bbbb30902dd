"""Simulated runs on labelled data, and experiments that compare them."""
