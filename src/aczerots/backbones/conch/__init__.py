"""CONCH: a CoCa model of pathology, from its published checkpoint."""

from aczerots.backbones.conch.loading import load_conch

__all__ = ["load_conch"]
