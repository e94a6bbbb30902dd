"""ProZS: the prototype-guided zero-shot segmentation model."""
