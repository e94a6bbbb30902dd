"""Labelled datasets in the layouts that others ship, and the procedural phantom."""
