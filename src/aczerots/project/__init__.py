"""A lab's own project: a folder with slides to annotate, rounds of annotation, and the models that come of them."""
