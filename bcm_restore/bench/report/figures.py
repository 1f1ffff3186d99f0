"""Curves of metrics against NFE and the perception-distortion plane, as inline SVG.

Text and axes have the colour of the surrounding text; families have the colour-blind safe colours of Okabe and Ito
(2008) and different markers.
"""

import io
import math
import re
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from .tables import Entry, Results, contestants, heading

INK = "#010203"  # replaced by the colour of the surrounding text
COLOURS = (INK, "#d55e00", "#0072b2", "#009e73", "#e69f00", "#cc79a7", "#56b4e9")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")  # their number is coprime to that of the colours
RULES: Any = {
    "svg.fonttype": "none",
    "font.size": 9.0,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.0,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
}


@dataclass(frozen=True)
class Point:
    """A contestant in a figure.

    Attributes:
        nfe: None if unknown.
        x: NFE or a metric.
        y: a metric.
        error: the standard error of `y`, if any.
    """

    nfe: int | None
    x: float
    y: float
    error: float | None


def curves(results: Results, case: Entry, key: str) -> str | None:
    """A metric against NFE, one line per family; dashed horizontal lines for no network or unknown NFE.

    Returns:
        An <svg> element; None if no contestant has both an NFE and that metric.
    """
    families = _families(results, case, None, key)
    placed = {family: [point for point in points if point.nfe] for family, points in families.items()}
    nfes = sorted({point.nfe for points in placed.values() for point in points if point.nfe})
    if not nfes:
        return None
    metric = results["metrics"][key]
    with _rules(f"{case['name']} {key}"):
        figure, axes = _axes()
        for family, points in families.items():
            style = styles(results)[family]
            _line(axes, placed[family], style)
            for point in points:
                if not point.nfe:
                    axes.axhline(point.y, color=style["color"], linestyle=(0, (5, 3)), linewidth=1.2)
                    # At the left end of the line: x in axis coordinates, y in data coordinates.
                    axes.plot(0.02, point.y, transform=axes.get_yaxis_transform(), **style)
        _nfe_axis(axes, nfes)
        axes.set_title(heading(metric))
        return _svg(figure, f"{heading(metric)} against NFE, case {case['name']}")


def plane(results: Results, case: Entry, key: str) -> str | None:
    """The perception-distortion plane (Blau and Michaeli, 2018): PSNR to the right, a perceptual metric upwards.

    Returns:
        An <svg> element; None if no contestant has both.
    """
    families = _families(results, case, "psnr", key)
    if not families:
        return None
    titles = [heading(results["metrics"][name]) for name in ("psnr", key)]
    with _rules(f"{case['name']} psnr {key}"):
        figure, axes = _axes()
        for family, points in families.items():
            _line(axes, points, styles(results)[family])
            for point in points:
                if point.nfe:
                    axes.annotate(str(point.nfe), (point.x, point.y), (4, 4), textcoords="offset points", fontsize=7)
        axes.margins(0.12)
        axes.set_xlabel(titles[0])
        axes.set_title(titles[1])
        return _svg(figure, f"{titles[1]} against {titles[0]}, case {case['name']}; numbers are NFE")


def swatch(results: Results, case: Entry, family: str) -> str:
    """The line and marker of a family, for a legend beside the figures of a case."""
    with _rules(f"{case['name']} swatch {family}"):
        figure = Figure(figsize=(0.4, 0.16))
        line = Line2D([0, 0.5, 1], [0.5] * 3, markevery=[1], linewidth=1.6, **styles(results)[family])
        figure.add_artist(line)
        return _svg(figure, "")


def styles(results: Results) -> dict[str, dict[str, Any]]:
    """Colour and marker of each family, the same in all cases."""
    families = dict.fromkeys(contestant["family"] for contestant in results["contestants"])
    return {
        family: {"color": COLOURS[n % len(COLOURS)], "marker": MARKERS[n % len(MARKERS)], "markersize": 5.0}
        for n, family in enumerate(families)
    }


def _families(results: Results, case: Entry, x: str | None, y: str) -> dict[str, list[Point]]:
    """The points of each family, sorted by NFE, without non-finite ones; x is a metric, or None for NFE."""
    by_name = contestants(results)
    found: dict[str, list[Point]] = {}
    for row in case["rows"]:
        contestant = by_name[row["contestant"]]
        nfe = contestant["nfe"]
        across = (nfe or 0) if x is None else row["mean"].get(x)
        if _finite(across) and _finite(row["mean"].get(y)):
            error = row["error"].get(y)
            point = Point(nfe, across, row["mean"][y], error if _finite(error) else None)
            found.setdefault(contestant["family"], []).append(point)
    return {family: sorted(points, key=lambda point: point.nfe or 0) for family, points in found.items()}


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.6, 2.7), layout="constrained")
    return figure, figure.add_subplot()


def _line(axes: Axes, points: list[Point], style: dict[str, Any]) -> None:
    axes.plot([point.x for point in points], [point.y for point in points], linewidth=1.6, **style)
    for point in points:
        if point.error is not None:
            axes.errorbar(point.x, point.y, point.error, color=style["color"], elinewidth=0.8, capsize=2)


def _nfe_axis(axes: Axes, nfes: list[int]) -> None:
    """A logarithmic axis with a tick at each NFE, as far as the labels do not overlap."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(nfes[0] / 1.5, nfes[-1] * 1.5)
    spacing = 0.08 * math.log2(2.25 * nfes[-1] / nfes[0])
    ticks: list[int] = []
    for nfe in nfes:
        if not ticks or math.log2(nfe / ticks[-1]) >= spacing:
            ticks.append(nfe)
    axes.set_xticks(ticks, [str(nfe) for nfe in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("NFE")


def _rules(salt: str) -> Any:
    """Matplotlib settings for a figure, independent of the user's.

    The salt makes the ids of each figure unique and reproducible.
    """
    return matplotlib.style.context(["default", {**RULES, "svg.hashsalt": ascii(salt)}])


def _svg(figure: Figure, label: str) -> str:
    """The <svg> element only, without ids that are the same in all figures."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r' id="[^"]*_\d+"', "", text)
    role = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return text.replace("<svg", f"<svg {role}", 1)
