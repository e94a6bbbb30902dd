"""Text prototypes: one point of the joint space per class, from its descriptions."""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F

from aczerots.backbones.base import Backbone
from aczerots.errors import InputError
from aczerots.taxonomy import Taxonomy


def text_prototypes(backbone: Backbone, taxonomy: Taxonomy) -> torch.Tensor:
    """Text prototypes t_c: the mean of the unit embeddings of the descriptions of c, renormalised.

    Prompt ensembling in embedding space as in Radford et al. 2021, section 3.1.4 (design, ProZS).

    Args:
        backbone: Whose text tower reads the sentences.
        taxonomy: Every class with at least one description, as ``describe_taxonomy`` gives it.

    Returns:
        Float32 [C, d], unit length, label order, on the backbone's device.

    Raises:
        InputError: A class has no description, or its sentences cancel out.
    """
    for tissue in taxonomy.classes:
        if not any(d.strip() for d in tissue.descriptions):
            fix = "Give it sentences or use --text templates"
            raise InputError("the class has no description", where=f"class '{tissue.name}'", fix=fix)
    sentences = [d for c in taxonomy.classes for d in c.descriptions]
    embeddings = F.normalize(backbone.encode_text(sentences).float(), dim=1)
    edges = accumulate((len(c.descriptions) for c in taxonomy.classes), initial=0)
    means = torch.stack([embeddings[a:b].mean(dim=0) for a, b in pairwise(edges)])
    for tissue, length in zip(taxonomy.classes, means.norm(dim=1).tolist(), strict=True):
        if not length > 1e-6:
            what = "the embeddings of its descriptions cancel out or are not finite"
            raise InputError(what, where=f"class '{tissue.name}'", fix="Reword them")
    return F.normalize(means, dim=1)
