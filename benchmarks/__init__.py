"""Measurements of the parts of the project."""
