"""Zero-shot and active-learning tissue segmentation."""

__version__ = "0.1.0"
