"""The cases of the bench: the damage that papers report on, by task and name."""

from collections.abc import Sequence

import numpy as np

from ..errors import RestoreError
from ..simulation.degradations import compressed, holes, parted, shrunk
from ..simulation.masks import MASKS, given
from .base import Case

CASES: dict[str, list[Case]] = {
    "inpaint": [Case("inpaint", name, holes(mask)) for name, mask in MASKS.items()],
    "jpeg": [Case("jpeg", f"quality-{quality}", compressed(quality)) for quality in (5, 10, 20, 40)],
    "super-resolve": [
        Case("super-resolve", f"x{scale}{suffix}", shrunk(scale, kernel), scale)
        for suffix, kernel in (("", "bicubic"), ("-pool", "box"))
        for scale in (2, 4, 8)
    ],
    "interpolate": [Case("interpolate", "pairs", parted)],
}


def cases(task: str, chosen: Sequence[str] = (), mask: np.ndarray | None = None) -> list[Case]:
    """The cases of a task, in the order of `CASES`.

    Args:
        task: its name.
        chosen: names of the cases wanted; empty: all.
        mask: one's own, (H, W) bool, True where unknown: the last case of "inpaint", named "mask".

    Raises:
        RestoreError: there is no such task or case, or the mask has no use.
    """
    if task not in CASES:
        raise RestoreError(f"--task {task}: the bench knows no damage for it; it is one of {', '.join(CASES)}")
    if mask is not None and (task != "inpaint" or (chosen and "mask" not in chosen)):
        way = 'add --case "mask"' if task == "inpaint" else "it is for --task inpaint"
        raise RestoreError(f"--mask: no case needs one; {way}, or leave it out")
    own = [] if mask is None else [Case("inpaint", "mask", holes(given(mask)))]
    there = {case.name: case for case in [*CASES[task], *own]}
    for name in chosen:
        if name not in there:
            missing = name == "mask" and task == "inpaint"
            what = "give the file with --mask" if missing else f"{task} has {', '.join(there)}"
            raise RestoreError(f"--case {name}: {what}")
    return [case for name, case in there.items() if not chosen or name in chosen]
