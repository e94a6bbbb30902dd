"""From a fitted model to label maps: one image, a whole slide, a batch of slides."""
