"""Slides and tiles: anything with pixels, read by level-0 coordinates."""
