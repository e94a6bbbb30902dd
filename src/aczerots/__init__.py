"""Zero-shot and active-learning tissue segmentation.

The public names below are all that most users need. Each is loaded when it is first used, so that
``import aczerots as az`` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from aczerots.version import __version__ as __version__

_HOMES = {
    "AczerotsError": "errors:AczerotsError",
    "ArraySlide": "slides.image:ArraySlide",
    "Box": "slides.base:Box",
    "ProZS": "prozs.model:ProZS",
    "SimulateSettings": "config:SimulateSettings",
    "Taxonomy": "taxonomy:Taxonomy",
    "evaluate_model": "simulation.evaluation:evaluate_model",
    "find_tissue": "slides.tissue:find_tissue",
    "fit": "project.rounds:fit_round",
    "load_segmenter": "predict.segmenter:load_segmenter",
    "open_project": "project.folder:open_project",
    "open_slide": "slides.open:open_slide",
    "predict_slides": "predict.slides:predict_slides",
    "select": "project.rounds:propose_round",
    "simulate": "simulation.simulate:simulate",
}
"""Module and name behind each public name."""

__all__ = [
    "AczerotsError",
    "ArraySlide",
    "Box",
    "ProZS",
    "SimulateSettings",
    "Taxonomy",
    "evaluate_model",
    "find_tissue",
    "fit",
    "load_segmenter",
    "open_project",
    "open_slide",
    "predict_slides",
    "select",
    "simulate",
]

if TYPE_CHECKING:
    from aczerots.config import SimulateSettings
    from aczerots.errors import AczerotsError
    from aczerots.predict.segmenter import load_segmenter
    from aczerots.predict.slides import predict_slides
    from aczerots.project.folder import open_project
    from aczerots.project.rounds import fit_round as fit
    from aczerots.project.rounds import propose_round as select
    from aczerots.prozs.model import ProZS
    from aczerots.simulation.evaluation import evaluate_model
    from aczerots.simulation.simulate import simulate
    from aczerots.slides.base import Box
    from aczerots.slides.image import ArraySlide
    from aczerots.slides.open import open_slide
    from aczerots.slides.tissue import find_tissue
    from aczerots.taxonomy import Taxonomy
else:

    def __getattr__(name: str) -> object:
        """Load a public name."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, attribute = _HOMES[name].partition(":")
        globals()[name] = found = getattr(import_module(f"{__name__}.{module}"), attribute)
        return found

    def __dir__() -> list[str]:
        return __all__
