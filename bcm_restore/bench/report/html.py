"""The report as a self-contained HTML file: tables, figures and pictures."""

import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from . import figures
from .answer import answers
from .grids import Grid, LoadPicture, caption, fitting, grids
from .tables import LEGEND, VERSUS_LEGEND, Entry, Results, contestants, facts, missing, table, versus

PERCEPTUAL = ("lpips", "fid", "ssimulacra2", "flip", "haarpsi", "swd")  # prefixes of the keys of perceptual metrics


def to_html(results: Results, picture: LoadPicture) -> str:
    """The whole page; reproducible for the same results and pictures."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    shown, uris = fitting([grids(results, case, picture) for case in results["cases"]])
    return environment.get_template("report.html.j2").render(
        results=results,
        answers=answers(results),
        facts=facts(results),
        cases=[_case(results, case, tiles) for case, tiles in zip(results["cases"], shown, strict=True)],
        missing=missing(results),
        legend=LEGEND.format(best="Bold", best_of_nfe="Underlined"),
        versus_legend=VERSUS_LEGEND.format(best="Bold"),
        identities=[
            (c["name"], json.dumps(c["identity"], indent=2, ensure_ascii=False)) for c in results["contestants"]
        ],
        uris=uris,
    )


def _case(results: Results, case: Entry, shown: list[Grid]) -> dict[str, Any]:
    """The template's variables for a case."""
    curves = [figures.curves(results, case, key) for key in results["metrics"]]
    perceptual = [key for key in results["metrics"] if key.startswith(PERCEPTUAL)]
    planes = [figures.plane(results, case, key) for key in perceptual]
    families = dict.fromkeys(contestants(results)[row["contestant"]]["family"] for row in case["rows"])
    return {
        "name": case["name"],
        "notes": case["notes"],
        "table": table(results, case["name"]),
        "versus": versus(results, case["name"]),
        "legend": [(family, Markup(figures.swatch(results, case, family))) for family in families],
        "curves": [Markup(svg) for svg in curves if svg],
        "perceptual": perceptual,
        "planes": [Markup(svg) for svg in planes if svg],
        "grids": shown,
        "caption": caption(results, case),
    }
