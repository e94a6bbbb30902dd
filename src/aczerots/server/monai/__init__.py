"""The MONAI Label protocol, as far as its QuPath extension and its Python client use it."""
