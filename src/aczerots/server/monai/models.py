"""Requests and answers of the protocol, typed. Requests may hold more than is described: clients differ."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Coordinate = Annotated[int, Field(ge=-(10**9), le=10**9)]
Extent = Annotated[int, Field(ge=0, le=10**9)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ModelInfo(_Answer):
    """What can be inferred."""

    type: str = "segmentation"
    dimension: int = 2
    description: str
    labels: dict[str, int]
    pathology: bool = True
    nuclick: bool = False
    config: dict[str, Any] = {}


class TaskInfo(_Answer):
    """A strategy or a trainer."""

    description: str
    config: dict[str, Any] = {}


class StoreInfo(_Answer):
    """Tiles that were asked for, and how many of them have an answer."""

    total: int
    completed: int
    label_tags: dict[str, int]


class Labelled(_Answer):
    """An image with a finished label."""

    image: str
    label: str


class Entry(_Answer):
    """An image and the tags of its labels."""

    image: dict[str, Any]
    labels: dict[str, dict[str, dict[str, Any]]]


class Store(_Answer):
    """All images."""

    name: str
    description: str
    objects: dict[str, Entry]


class Info(_Answer):
    """The project, as MONAI Label describes an app."""

    name: str
    description: str
    version: str
    labels: dict[str, int] = Field(description="Number of each class in masks; 0 is not annotated.")
    models: dict[str, ModelInfo]
    trainers: dict[str, TaskInfo]
    strategies: dict[str, TaskInfo]
    scoring: dict[str, TaskInfo] = {}
    train_stats: dict[str, dict[str, Any]] = {}
    datastore: StoreInfo


class SampleRequest(_Request):
    """Which tile is wanted next."""

    image: str = Field(default="", max_length=1000, description="Slide to stay on; empty for any.")
    image_size: list[int] | None = Field(default=None, description="Sent by QuPath, which shows whole slides.")


class Sample(_Answer):
    """The next tile; empty where none is left."""

    id: str | None = Field(default=None, description="The slide for QuPath, the image of the tile for others.")
    name: str | None = None
    path: str | None = Field(default=None, description="Always empty: no path leaves the project.")
    bbox: list[int] | None = Field(default=None, description="x, y, width, height in level-0 pixels.")


class Region(_Request):
    """A region of a slide and what to make of it."""

    level: Literal[0] = 0
    location: tuple[Coordinate, Coordinate] = (0, 0)
    size: tuple[Extent, Extent] = Field(default=(0, 0), description="Level-0 pixels; 0, 0 is the whole slide.")
    min_poly_area: int = Field(default=80, ge=0, le=10**9, description="Smaller areas are left out.")


class Saved(_Answer):
    """What became of a label."""

    image: str
    label: str
    answers: int = 0
    unchanged: int = 0
    untouched: int = 0
    stale: int = 0
    unused: list[str] = []


class Uploaded(_Answer):
    """The name of an image."""

    image: str


class TrainTask(_Answer):
    """Where fitting stands."""

    id: str
    model: str
    status: Literal["RUNNING", "DONE", "ERROR"]
    details: list[str]
    stage: str
    done: int
    total: int
