"""Annotations as files: GeoJSON, ASAP, rasters."""
