"""The tables of a report, shared by Markdown, HTML and the terminal."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeGuard

Results = dict[str, Any]  # the contents of results.json
Entry = dict[str, Any]  # one of its cases, or one of their rows

MISSING = "n/a"
COMPARED = ("psnr", "ssimulacra2", "lpips_alex", "lpips_vgg", "path_length", "psnr_ends")  # picture by picture
ARROWS = {"higher": "↑", "lower": "↓"}
LEGEND = "Mean ± standard error over the pictures; seconds are means, memory is the peak. {best}: the best of the \
column. {best_of_nfe}: the best of those with the same NFE."
VERSUS_LEGEND = "Each contestant minus its reference on the same pictures: mean difference with its 95 % interval, and \
share of the pictures where it is better. {best}: the interval excludes 0."


class Cell(str):
    """The plain text of a table cell: "27.31 ± 0.42".

    Attributes:
        best: whether to highlight it: the best of its column, or a difference whose interval excludes 0.
        best_of_nfe: whether it is the best of two or more contestants at the same NFE.
    """

    best: bool
    best_of_nfe: bool

    def __new__(cls, text: str, best: bool = False, best_of_nfe: bool = False) -> "Cell":  # noqa: D102
        cell = super().__new__(cls, text)
        cell.best, cell.best_of_nfe = best, best_of_nfe
        return cell


class Table(NamedTuple):
    """Rows of cells, each of the header's length; the first column is the contestant."""

    header: list[str]
    rows: list[list[Cell]]


def table(results: Results, case: str) -> Table:
    """The contestants of a case, their metrics as mean ± standard error, and their time and memory."""
    rows = _rows(results, case)
    nfes = [nfe_of(results, row) for row in rows]
    costs = ["s / picture", "MP/s", "memory (MB)"]
    columns = [
        [Cell(row["contestant"]) for row in rows],
        [Cell(MISSING if nfe is None else str(nfe)) for nfe in nfes],
        *(_metric_column(results, rows, nfes, key) for key in results["metrics"]),
        [Cell(_significant(row["seconds"])) for row in rows],
        [Cell(_significant(row["megapixels_per_second"])) for row in rows],
        [Cell(_megabytes(row["peak_memory"])) for row in rows],
    ]
    header = ["contestant", "NFE", *(heading(metric) for metric in results["metrics"].values()), *costs]
    return Table(header, [list(cells) for cells in zip(*columns, strict=True)])


def versus(results: Results, case: str) -> Table | None:
    """The paired comparisons of a case with BCM at equal NFE; None if there are none."""
    rows = [row for row in _rows(results, case) if row["versus"]]
    keys = [key for key in results["metrics"] if key in COMPARED and any(row["versus"].get(key) for row in rows)]
    if not keys:
        return None
    header = ["contestant", "against"]
    for key in keys:
        header += [f"{heading(results['metrics'][key])} difference", "better in"]
    return Table(header, [_versus_row(results, row, keys) for row in rows])


def missing(results: Results) -> list[tuple[str, str]]:
    """The metrics that were not measured: title, and how to get them."""
    return [(metric["title"], metric["missing"]) for metric in results["metrics"].values() if metric["missing"]]


def facts(results: Results) -> list[tuple[str, str]]:
    """The data, seed, date, hardware and versions of a run, as (name, text)."""
    data, pictures = results["data"], results["data"]["pictures"]
    count = f"{len(pictures)} picture{'' if len(pictures) == 1 else 's'}"
    return [
        ("Data", f"{data['name']}, size {data['size']}, {count}"),
        ("Seed", str(results["seed"])),
        ("Date", results["date"]),
        ("Hardware", _listed(results["hardware"])),
        ("Versions", _listed(results["versions"])),
    ]


def heading(metric: dict[str, Any]) -> str:
    """Title, unit and direction of a metric: "PSNR (dB) ↑"."""
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    return f"{metric['title']}{unit} {ARROWS[metric['better']]}"


def nfe_of(results: Results, row: Entry) -> int | None:
    """The NFE of a row's contestant."""
    nfe: int | None = contestants(results)[row["contestant"]]["nfe"]
    return nfe


def contestants(results: Results) -> dict[str, dict[str, Any]]:
    """The contestants by their names."""
    return {contestant["name"]: contestant for contestant in results["contestants"]}


def known(value: float | None) -> TypeGuard[float]:
    """Whether a value was measured."""
    return value is not None and not math.isnan(value)


def decimals(results: Results, key: str) -> int:
    """Decimal places of a metric, the same in all cases: 2 for dB and values of 10 or more, else 4."""
    values = [row["mean"].get(key) for case in results["cases"] for row in case["rows"]]
    large = any(known(value) and abs(value) >= 10 for value in values)
    return 2 if large or results["metrics"][key]["unit"] == "dB" else 4


def fixed(value: float | None, digits: int, sign: str = "") -> str:
    """Formats a number with that many decimal places, or "n/a"; sign "+" also marks positive numbers."""
    if not known(value):
        return MISSING
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # adding zero turns -0.00 into 0.00


def _rows(results: Results, case: str) -> list[Entry]:
    return next(entry["rows"] for entry in results["cases"] if entry["name"] == case)


def _metric_column(results: Results, rows: list[Entry], nfes: list[int | None], key: str) -> list[Cell]:
    digits = decimals(results, key)
    means = [row["mean"].get(key) for row in rows]
    peers = [[mean for mean, other in zip(means, nfes, strict=True) if other == nfe] for nfe in nfes]
    better = results["metrics"][key]["better"]
    return [
        Cell(
            _with_error(mean, row["error"].get(key), digits),
            best=_leads(mean, means, better, digits),
            best_of_nfe=nfe is not None and _leads(mean, among, better, digits),
        )
        for mean, row, nfe, among in zip(means, rows, nfes, peers, strict=True)
    ]


def _leads(value: float | None, among: Iterable[float | None], better: str, digits: int) -> bool:
    """Whether it is the best of two or more values; values that are equal as text tie."""
    values = [other for other in among if other is not None and known(other)]
    if not known(value) or len(values) < 2:
        return False
    return fixed(value, digits) == fixed(max(values) if better == "higher" else min(values), digits)


def _with_error(mean: float | None, error: float | None, digits: int) -> str:
    return f"{fixed(mean, digits)} ± {fixed(error, digits)}" if known(mean) and known(error) else fixed(mean, digits)


def _versus_row(results: Results, row: Entry, keys: list[str]) -> list[Cell]:
    cells = [Cell(row["contestant"]), Cell(row["versus"]["against"])]
    for key in keys:
        cells += _paired(row["versus"].get(key), decimals(results, key))
    return cells


def _paired(paired: dict[str, Any] | None, digits: int) -> list[Cell]:
    """Difference with interval, and win rate."""
    if paired is None:
        return [Cell(MISSING), Cell(MISSING)]
    difference, low, high = (paired[name] for name in ("difference", "low", "high"))
    text, rate = fixed(difference, digits, "+"), paired["win_rate"]
    sure = known(low) and known(high)
    if sure:
        text += f" ({fixed(low, digits, '+')} to {fixed(high, digits, '+')})"
    return [Cell(text, best=sure and (low > 0 or high < 0)), Cell(f"{100 * rate:.0f} %" if known(rate) else MISSING)]


def _significant(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else f"{value:.0f}"


def _megabytes(size: int | None) -> str:
    return MISSING if size is None else f"{size / 1e6:.0f}"


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in names.items())
