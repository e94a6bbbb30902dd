"""Frozen vision-language models: dense image grids and text in one joint space."""
