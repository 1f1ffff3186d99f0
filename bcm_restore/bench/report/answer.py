"""The answer of a bench in a sentence for each case: who wins, by how much, and how sure that is."""

from ..statistics import paired
from .tables import Entry, Results, contestants, decimals, fixed, known

DECIDING = ("psnr_hole", "psnr", "psnr_ends")  # the first that was measured decides


def answers(results: Results) -> list[tuple[str, str]]:
    """(case, sentence) of all cases with two or more methods.

    The winner is the contestant with the best mean; it is compared, picture by picture, with the best contestant of
    another family. The interval is that of `paired`.
    """
    key = next((key for key in DECIDING if key in results["metrics"]), None)
    if key is None:
        return []
    found = [(case["name"], _answer(results, case["rows"], key)) for case in results["cases"]]
    return [(name, sentence) for name, sentence in found if sentence]


def _answer(results: Results, rows: list[Entry], key: str) -> str:
    metric, families = results["metrics"][key], {name: one["family"] for name, one in contestants(results).items()}
    sign = 1 if metric["better"] == "higher" else -1
    ranked = sorted((row for row in rows if known(row["mean"].get(key))), key=lambda row: -sign * row["mean"][key])
    if not ranked:
        return ""
    first = ranked[0]
    second = next((row for row in ranked if families[row["contestant"]] != families[first["contestant"]]), None)
    if second is None:
        return ""
    values = [{name: one[key] for name, one in row["pictures"].items() if key in one} for row in (first, second)]
    if not values[0].keys() & values[1].keys():
        return ""
    difference = paired(values[0], values[1], metric["better"])
    digits, unit = decimals(results, key), f" {metric['unit']}" if metric["unit"] else ""
    gap = fixed(abs(difference["difference"] or 0.0), digits)
    against = f"{second['contestant']}, the best other method"
    low, high = sorted(sign * end if end is not None else 0.0 for end in (difference["low"], difference["high"]))
    if difference["low"] is None:
        return f"{first['contestant']} is {gap}{unit} better by {metric['title']} than {against}, on one picture."
    interval = f"95 % interval {fixed(low, digits)} to {fixed(high, digits)}"
    if low <= 0:
        return (
            f"No clear winner by {metric['title']}: {first['contestant']} is {gap}{unit} ({interval}) better than "
            f"{against}."
        )
    return f"{first['contestant']} wins by {metric['title']}: {gap}{unit} ({interval}) better than {against}."
