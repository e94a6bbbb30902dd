"""Named attributes: the measurements that words of pathology speak of.

These definitions say what an attribute is about; ``train/readings.py`` learns on drawn tissues how much each
measurement counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aczerots.backbones.embedded.morphology import measurement_names

ATTRIBUTES: dict[str, str] = {
    "cells": "nucleus@24 1 nucleus@72 1 count@72 1",
    "size": "nuclear_size@72 1 blob_haem_3@72 1 blob_haem_1@72 -.6",
    "dark": "in_nucleus_dark@72 1 black@72 .5 in_nucleus_haem@72 .5",
    "pleo": "spread_nucleus_dark@72 1 spread_black@72 .5 blob_haem_3@72 .5",
    "round": "blob_haem_2@72 1 ridge_haem_2@72 -1 coherence_haem_1@72 -.4",
    "crowd": "nucleus_by_haem@72 1 count@72 1",
    "pink": "in_body_eosin@24 1 in_body_eosin@72 1",
    "purple": "in_body_haem@24 1 in_body_haem@72 1",
    "red": "red@24 1 red@72 1",
    "white": "white@24 1 white@72 1",
    "space": "white@168 1 pos_white_4@168 1",
    "vac": "blob_white_2@72 1 blob_white_1@72 .7 blob_white_3@72 .5 blob_eosin_2@72 -.2",
    "slit": "ridge_white_2@72 1 ridge_white_3@72 1 blob_white_4@72 -.5",
    "fibre": "coherence_haem_2@72 1 coherence_eosin_2@72 1 coherence_haem_1@72 .7 coherence_eosin_1@72 .7",
    "smooth": "pos_eosin_1@72 -1 pos_haem_1@72 -.7 pos_eosin_2@72 -1 pos_haem_0@72 -.3",
    "gland": "nucleus_by_white@72 1 pos_haem_5@72 .7 nucleus_by_white@168 .5 pos_haem_4@72 .4",
    "mucin": "blue@72 1 nucleus@72 -1 in_body_eosin@72 -.6 neg_haem_4@72 .4",
    "pale": "darkness@72 -1 white@72 -.7",
    "debris": "pos_haem_0@72 1 nuclear_size@72 -1 in_body_eosin@72 .3",
    "brown": "brown@24 1 brown@72 1",
}
"""Attribute to measurements and their weights."""


def attribute_matrix() -> Tensor:
    """Weights from standardised measurements to attributes.

    Returns:
        Float32 [measurements, attributes].
    """
    index = {name: i for i, name in enumerate(measurement_names())}
    matrix = torch.zeros(len(index), len(ATTRIBUTES))
    for column, spec in enumerate(ATTRIBUTES.values()):
        words = spec.split()
        for name, weight in zip(words[::2], words[1::2], strict=True):
            matrix[index[name], column] = float(weight)
    return matrix
