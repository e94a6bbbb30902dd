"""The built-in image-text model for H&E: a morphological front end and two small towers, no download."""

from aczerots.backbones.embedded.backbone import EmbeddedBackbone, load_embedded

__all__ = ["EmbeddedBackbone", "load_embedded"]
