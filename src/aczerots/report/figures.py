"""Figures as SVG text: scores over the labelled fraction of the pool.

The SVG is meant to be put into a page: text stays text, lines of the frame take the colour of the text around
it, and series take the page's ``--series-N`` colours, so it reads on light and on dark. On its own it falls
back to black and the colours below.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aczerots.report.compare import Curve, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType


# Okabe and Ito's colours (Color Universal Design, 2008) without yellow, which is lost on white. Markers and
# dashes differ too, so that no pair is told apart by colour alone.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#666666")
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", "-.", (0, (5, 1)), (0, (3, 1, 1, 1)), "-", "--")
_INK = "#010203"  # stands for the text colour until the SVG is finished
_STYLE: dict[RcKeyType, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "aczerots",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
}


def _numbers(values: Sequence[float | None]) -> list[float]:
    """Undefined values as NaN, which matplotlib leaves out."""
    return [float("nan") if v is None else v for v in values]


def _finish(figure: Figure, title: str) -> str:
    """The figure as an ``<svg>`` element that describes itself and takes its colours from the page."""
    buffer = io.StringIO()
    empty = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=empty, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    for number, color in enumerate(SERIES, start=1):
        svg = svg.replace(color, f"var(--series-{number}, {color})")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("'DejaVu Sans'", "system-ui, sans-serif")  # whatever the reader's machine has
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1).strip()


def _frame(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """An empty figure of ``size`` inches with a score axis and an axis of fractions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(axis="y", color=_INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    return figure, axes


def _levels(axes: Axes, levels: dict[str, float]) -> None:
    """Horizontal reference lines, named to the right of the axes, where no curve runs.

    The lower of two names hangs from its line and the upper one stands on it, so that close levels stay readable.
    """
    ordered = sorted(levels.items(), key=lambda level: level[1])
    sides = ("top", "bottom") if len(ordered) > 1 else ("center",) * len(ordered)
    for (name, value), side in zip(ordered, sides, strict=True):
        axes.axhline(value, color=_INK, linewidth=1.0, linestyle=(0, (2, 3)), alpha=0.8)
        axes.annotate(
            f"{name}\n{value:.3f}", (1, value), (5, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="left", va=side, fontsize=9.5,
        )  # fmt: skip


def _limits(values: Sequence[float], curves: Sequence[Curve], close_up: bool) -> tuple[float, float]:
    """From 0 to a little above everything, bands included; in a close-up a little beyond the values.

    A close-up cuts off wide bands, so that few seeds do not hide the curves.
    """
    if close_up:
        low, top = min(values, default=0.0), max(values, default=1.0)
        room = max(0.3 * (top - low), 0.01)
        return max(0.0, low - room), min(1.0, top + room)
    top = max([0.1, *values, *(v for c in curves for v in c.high or () if v is not None)])
    return 0.0, min(1.0, 1.12 * top)


def budget_figure(
    curves: Sequence[Curve],
    zero_shot: float | None = None,
    full_label: float | None = None,
    score: str = "hIoU",
    *,
    close_up: bool = False,
) -> str:
    """Score over the labelled fraction, one line per curve, with the zero-shot and full-label levels, as SVG.

    Args:
        curves: Lines; a band is drawn where a curve has an interval.
        zero_shot: Level of the model without any label.
        full_label: Level of the model trained on the whole pool.
        score: Name of the score on the vertical axis.
        close_up: For many curves that lie close: the axis need not begin at 0, and their names stand beside it.
    """
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        figure, axes = _frame((7.4, 3.8) if close_up else (6.0, 3.4))
        for number, curve in enumerate(curves):
            color, marker = SERIES[number % len(SERIES)], _MARKERS[number % len(_MARKERS)]
            x = list(curve.fraction)
            if curve.low is not None and curve.high is not None:
                axes.fill_between(x, _numbers(curve.low), _numbers(curve.high), color=color, alpha=0.15, linewidth=0)
            axes.plot(
                x, _numbers(curve.score), color=color, marker=marker, markersize=5.5,
                linestyle=_DASHES[number % len(_DASHES)], linewidth=2, label=curve.label, clip_on=False,
            )  # fmt: skip
        named = {"zero-shot": zero_shot, "all labels": full_label}
        levels = {name: value for name, value in named.items() if value is not None}
        _levels(axes, levels)
        values = [*levels.values(), *(v for c in curves for v in c.score if v is not None)]
        axes.set_ylim(*_limits(values, curves, close_up))
        axes.set_xlim(0, None)
        axes.set_xlabel("labelled fraction of the pool")
        axes.set_ylabel(score)
        if close_up:
            figure.legend(loc="outside right upper", frameon=False, fontsize=10)
        elif len(curves) > 1:
            axes.legend(loc="lower right", frameon=False, fontsize=10)
        return _finish(figure, f"{score} over the labelled fraction of the pool")


def difference_figure(rows: Sequence[tuple[str, Estimate]], reference: str) -> str:
    """Rows (label, difference to a reference) with their intervals, one line each, the best on top, as SVG.

    Lines whose interval leaves out zero are in the first colour with a disc, others in grey with a ring.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ordered = sorted(rows, key=lambda row: row[1].mean)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.0, 0.9 + 0.27 * len(ordered)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=_INK, linewidth=1.0, linestyle=(0, (2, 3)), alpha=0.8)
        for place, (_, e) in enumerate(ordered):
            color = SERIES[0] if e.clear else SERIES[6]
            if e.low is not None and e.high is not None:
                axes.plot([e.low, e.high], [place, place], color=color, linewidth=2, solid_capstyle="butt")
            axes.plot(
                [e.mean], [place], color=color, marker="o", markersize=6,
                markerfacecolor=color if e.clear else "none", markeredgewidth=1.6,
            )  # fmt: skip
        axes.set_yticks(range(len(ordered)), [label for label, _ in ordered])
        axes.set_ylim(-0.6, len(ordered) - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"mean hIoU over the budget, minus {reference}")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.3f}".replace("-", "\N{MINUS SIGN}"))
        axes.locator_params(axis="x", nbins=6)
        return _finish(figure, f"Differences to {reference}")


def class_figure(name: str, seen: bool, fraction: Sequence[float], iou: Sequence[float | None]) -> str:
    """IoU of one class over the labelled fraction, small: one panel of many with equal axes, as SVG.

    Args:
        name: Class name, for screen readers.
        seen: Seen classes have a solid line with discs, unseen ones a dashed line with squares.
        fraction: Labelled fraction of the pool, 0..1, ascending; the first is the zero-shot level.
        iou: IoU at each fraction, None where undefined.
    """
    import matplotlib as mpl

    with mpl.rc_context({**_STYLE, "font.size": 10.0}):
        figure, axes = _frame((2.7, 1.5))
        color, marker, dash = (SERIES[0], "o", "-") if seen else (SERIES[1], "s", "--")
        if iou and iou[0] is not None:
            axes.axhline(iou[0], color=_INK, linewidth=0.9, linestyle=(0, (2, 3)), alpha=0.8)
        axes.plot(
            list(fraction), _numbers(iou), color=color, marker=marker, markersize=4, linestyle=dash,
            linewidth=1.8, clip_on=False,
        )  # fmt: skip
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1])
        axes.set_xlim(0, max([*fraction, 0.05]))
        axes.locator_params(axis="x", nbins=4)
        return _finish(figure, f"IoU of {name} over the labelled fraction of the pool")
