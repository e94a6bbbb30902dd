"""The ordered tissue classes of a project: names, colours, which are seen, and descriptions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from aczerots.errors import SettingsError
from aczerots.names import match_names

IGNORE = 255
"""Label id of a pixel that nobody annotated. It is never background and never counts."""

NO_SEEN = 254
"""Label id of a pixel that is of no seen class, as an expert says who drew all that is seen in a tile."""

MAX_CLASSES = 250
"""Ids must stay clear of :data:`IGNORE` and :data:`NO_SEEN` in 8-bit masks."""

Channel = Annotated[int, Field(ge=0, le=255)]


class TissueClass(BaseModel):
    """One class of a taxonomy.

    Attributes:
        name: The field's own term, for example ``tumor epithelium``.
        color: RGB, 0-255 each, for overlays and palettes.
        seen: Whether an expert draws this class. Unseen classes have descriptions only.
        descriptions: Sentences on how the class looks; empty means "take the bundled ones".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    color: tuple[Channel, Channel, Channel] = (128, 128, 128)
    seen: bool = True
    descriptions: tuple[str, ...] = ()


class Taxonomy(BaseModel):
    """Ordered tissue classes; the label id of a class is its position.

    Attributes:
        classes: The classes, at most :data:`MAX_CLASSES`, with distinct names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[TissueClass, ...] = Field(min_length=1, max_length=MAX_CLASSES)

    def model_post_init(self, context: object) -> None:
        """Refuse two classes of one name."""
        del context
        seen: set[str] = set()
        for name in self.names:
            if name in seen:
                raise SettingsError(f"class '{name}' is listed twice", fix="Give every class a name of its own")
            seen.add(name)

    def __len__(self) -> int:
        """Number of classes C."""
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(c.name for c in self.classes)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Bool [C]: which classes an expert draws."""
        return np.array([c.seen for c in self.classes], dtype=bool)

    @property
    def seen_ids(self) -> tuple[int, ...]:
        """Label ids of the seen classes, ascending."""
        return tuple(i for i, c in enumerate(self.classes) if c.seen)

    @property
    def unseen_ids(self) -> tuple[int, ...]:
        """Label ids of the unseen classes, ascending."""
        return tuple(i for i, c in enumerate(self.classes) if not c.seen)

    @property
    def palette(self) -> NDArray[np.uint8]:
        """RGB colours uint8 [256, 3]; rows beyond the classes, and IGNORE, are black."""
        table = np.zeros((256, 3), dtype=np.uint8)
        for i, c in enumerate(self.classes):
            table[i] = c.color
        return table

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def index(self, name: str) -> int:
        """Label id of a class.

        Raises:
            SettingsError: No class of that name; the nearest names are suggested.
        """
        known = match_names([name], self.names).get(name)
        if known is not None:
            return self.names.index(known)
        near = get_close_matches(name, self.names, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise SettingsError(f"unknown class '{name}'", fix=f"{hint}The classes are: {', '.join(self.names)}")

    def with_unseen(self, names: Iterable[str]) -> Taxonomy:
        """The same classes with exactly ``names`` unseen.

        Raises:
            SettingsError: A name is unknown, or no class would be left to draw.
        """
        unseen = {self.index(name) for name in names}
        if len(unseen) == len(self):
            raise SettingsError("all classes are unseen", fix="Leave at least one class for the expert to draw")
        return Taxonomy(
            classes=tuple(c.model_copy(update={"seen": i not in unseen}) for i, c in enumerate(self.classes))
        )

    def with_descriptions(self, descriptions: Sequence[Sequence[str]]) -> Taxonomy:
        """The same classes with the sentences given, one sequence per class in label order."""
        pairs = zip(self.classes, descriptions, strict=True)
        return Taxonomy(classes=tuple(c.model_copy(update={"descriptions": tuple(d)}) for c, d in pairs))
