"""Frozen vision-language models: dense features of images and text in one joint space."""
