"""Training sentences: attribute levels and tissue names said in many wordings."""

from __future__ import annotations

import random

from tools.train_embedded.profiles import Profile

WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cells": (
        (
            "very few cells",
            "sparse nuclei",
            "few nuclei",
            "no nuclei",
            "paucicellular",
            "hypocellular",
            "acellular",
            "scant scattered cells",
            "low cellularity",
            "nuclei are rare",
        ),
        (
            "many nuclei",
            "highly cellular",
            "dense cells",
            "hypercellular",
            "densely packed cells",
            "high cellularity",
            "sheets of cells",
            "numerous cells",
            "abundant nuclei",
            "dense cellular area",
        ),
    ),
    "size": (
        ("small nuclei", "tiny nuclei", "small cells", "small compact nuclei", "little nuclei"),
        (
            "large nuclei",
            "enlarged nuclei",
            "big nuclei",
            "large cells",
            "enlarged atypical nuclei",
            "voluminous nuclei",
        ),
    ),
    "dark": (
        ("pale nuclei", "vesicular nuclei", "light nuclei", "open chromatin"),
        (
            "dark nuclei",
            "hyperchromatic nuclei",
            "dense chromatin",
            "dark blue nuclei",
            "intensely stained nuclei",
            "hyperchromasia",
        ),
    ),
    "pleo": (
        ("uniform nuclei", "regular nuclei", "monomorphic cells", "bland nuclei", "no atypia", "uniform cells"),
        (
            "pleomorphic nuclei",
            "irregular nuclei",
            "nuclear pleomorphism",
            "atypical nuclei of varied size",
            "bizarre nuclei",
            "marked atypia",
            "variable size and shape",
        ),
    ),
    "round": (
        (
            "spindle nuclei",
            "elongated nuclei",
            "spindle shaped cells",
            "thin wavy nuclei",
            "flattened nuclei",
            "cigar shaped nuclei",
            "slender fibroblasts",
            "spindle cells",
        ),
        ("round nuclei", "round cells", "oval nuclei", "circular nuclei", "round dark dots"),
    ),
    "crowd": (
        ("well separated cells", "widely spaced nuclei", "loosely scattered cells", "cells far apart"),
        (
            "crowded nuclei",
            "overlapping nuclei",
            "nuclear crowding",
            "tightly packed nuclei",
            "stratified nuclei",
            "clusters of nuclei",
            "nests of cells",
            "cohesive cells",
        ),
    ),
    "pink": (
        ("little eosin", "not pink", "no collagen", "scant pink matrix", "non eosinophilic"),
        (
            "pink",
            "eosinophilic",
            "pink collagen",
            "eosinophilic cytoplasm",
            "pink fibers",
            "deeply eosinophilic",
            "bright pink",
            "rose coloured matrix",
            "eosinophilic matrix",
            "dense collagen",
        ),
    ),
    "purple": (
        ("no basophilia", "little blue", "not purple"),
        (
            "purple",
            "basophilic",
            "basophilic cytoplasm",
            "blue purple cytoplasm",
            "violet",
            "bluish cytoplasm",
            "amphophilic cytoplasm",
        ),
    ),
    "red": (
        ("no blood", "no red cells", "bloodless"),
        (
            "red blood cells",
            "bright red",
            "erythrocytes",
            "blood filled",
            "hemorrhagic",
            "congested",
            "red discs without nuclei",
        ),
    ),
    "white": (
        ("solid", "compact tissue", "no empty space", "no white space", "no lumen", "solid growth"),
        (
            "white spaces",
            "empty spaces",
            "clear spaces",
            "open white areas",
            "optically empty",
            "blank",
            "bright white",
        ),
    ),
    "space": (
        ("no large spaces", "without air spaces"),
        (
            "large empty spaces",
            "air spaces",
            "wide open alveoli",
            "big round white vacuoles",
            "large clear polygonal cells",
            "large white holes with thin walls",
            "thin septa around air",
            "lacy network",
        ),
    ),
    "vac": (
        ("no vacuoles", "no goblet cells"),
        (
            "vacuoles",
            "vacuolated cytoplasm",
            "clear cytoplasm",
            "foamy cytoplasm",
            "bubbly",
            "small clear droplets",
            "goblet cells",
        ),
    ),
    "slit": (
        ("no clefts", "no slits"),
        (
            "slit like spaces",
            "clefts",
            "cracks",
            "narrow spaces",
            "retraction clefts",
            "papillary fronds",
            "slender gaps",
        ),
    ),
    "fibre": (
        ("no fibers", "without orientation", "haphazard", "patternless", "no parallel arrangement"),
        (
            "parallel fibers",
            "fibrous",
            "fibers in bundles",
            "oriented bundles",
            "fascicles",
            "streaming",
            "wavy fibers",
            "fibrillar",
            "strands of collagen",
            "elongated strands",
            "aligned",
            "longitudinal fibers",
        ),
    ),
    "smooth": (
        ("coarse texture", "granular", "rough texture", "busy texture"),
        ("smooth", "homogeneous", "uniform texture", "glassy", "structureless", "amorphous", "hyaline", "featureless"),
    ),
    "gland": (
        ("no glands", "without gland formation", "non glandular", "no lumina"),
        (
            "glands",
            "glandular",
            "glands with lumen",
            "tubules",
            "acini",
            "crypts",
            "lumina lined by epithelium",
            "gland formation",
            "ring of nuclei around a lumen",
            "tubular structures",
        ),
    ),
    "mucin": (
        ("no mucin", "mucin depleted", "loss of mucin"),
        ("mucin", "mucus", "mucinous", "pale blue mucin", "mucin filled", "bluish gray mucus", "mucin droplets"),
    ),
    "pale": (
        ("strongly stained", "dark staining", "dense"),
        ("pale", "light staining", "washed out", "faint", "lightly stained", "edematous", "loose", "delicate"),
    ),
    "debris": (
        ("no debris", "clean", "no necrosis"),
        (
            "granular debris",
            "nuclear dust",
            "cell debris",
            "fragmented nuclei",
            "karyorrhexis",
            "ghost cells",
            "necrotic",
            "dirty granular material",
            "dead cells",
        ),
    ),
    "brown": (
        ("no pigment",),
        ("brown pigment", "black pigment", "melanin", "pigmented", "carbon pigment", "brown granules"),
    ),
}
"""Attribute to (wordings of low, wordings of high)."""

_FRAMES = (
    "{}",
    "{}",
    "{}",
    "an H&E image of {}",
    "{} tissue",
    "histology of {}",
    "this is {}",
    "a region of {}",
    "a patch showing {}",
)


def phrase(rng: random.Random, attribute: str, level: float) -> str:
    """One wording of an attribute at a level."""
    return rng.choice(WORDS[attribute][0 if level < 0 else 1])


def sentence(rng: random.Random, name: str | None, levels: dict[str, float]) -> tuple[str, dict[str, float]]:
    """A sentence on a tissue and the levels that it tells.

    Args:
        rng: Source of chance.
        name: What to call it; None speaks of its looks only.
        levels: Attribute to level.

    Returns:
        The sentence, and all levels where the name is said, else those that are spoken of.
    """
    keys = [k for k, v in levels.items() if v]
    said = rng.sample(keys, min(len(keys), rng.randint(0 if name else 1, 5)))
    looks = [phrase(rng, k, levels[k]) for k in said]
    rng.shuffle(looks)
    joined = rng.choice((", ", " and ", " with ", "; ")).join(looks) if rng.random() < 0.5 else ", ".join(looks)
    if name is None:
        return joined, {k: levels[k] for k in said}
    head = rng.choice(_FRAMES).format(name)
    text = (
        rng.choice(("{}: {}", "{} with {}", "{}, {}", "{} has {}", "{} shows {}")).format(head, joined)
        if looks
        else head
    )
    if looks and rng.random() < 0.2:
        text = f"{joined} in {head}"
    return text, levels


def draw(rng: random.Random, table: list[Profile], n: int) -> list[tuple[str, dict[str, float]]]:
    """``n`` sentences with their levels."""
    out = []
    for _ in range(n):
        profile = rng.choice(table)
        name = rng.choice(profile.names) if rng.random() < 0.75 else None
        out.append(sentence(rng, name, profile.levels))
    return out
