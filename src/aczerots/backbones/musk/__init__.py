"""MUSK: a BEiT-3 of pathology, from its published checkpoint."""

from aczerots.backbones.musk.loading import load_musk

__all__ = ["load_musk"]
