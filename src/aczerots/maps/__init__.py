"""Maps of whole slides on disk: chunks that survive an interrupt, label pyramids, polygons, areas."""
