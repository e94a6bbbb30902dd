"""Strategies that choose the tiles an expert should draw next."""
