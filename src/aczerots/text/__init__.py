"""Words for tissue: bundled descriptions and text prototypes."""
