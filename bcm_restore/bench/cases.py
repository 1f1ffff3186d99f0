"""The cases of the bench: the degradations common in papers, by task and name."""

from collections.abc import Sequence

import numpy as np

from ..errors import RestoreError
from ..simulation.degradations import (
    BORDER,
    VARIANTS,
    compressed,
    downscaled,
    grey,
    masked,
    noisy,
    picture_pair,
    sensor,
    small_jpeg,
    then_noisy,
)
from ..simulation.masks import FURTHER_MASKS, MASKS, box, fixed
from .base import Case

CASES: dict[str, list[Case]] = {
    "inpaint": [Case("inpaint", name, masked(mask)) for name, mask in MASKS.items()],
    "jpeg": [Case("jpeg", f"quality-{quality}", compressed(quality)) for quality in (5, 10, 20, 40)],
    "super-resolve": [
        Case("super-resolve", f"x{scale}{suffix}", downscaled(scale, kernel), scale)
        for suffix, kernel in (("", "bicubic"), ("-pool", "box"))
        for scale in (2, 4, 8)
    ],
    "denoise": [
        *(Case("denoise", f"sigma-{sigma}", noisy(sigma)) for sigma in (10, 15, 25, 50)),
        Case("denoise", "sensor", sensor(), blind=True),
    ],
    "colorize": [Case("colorize", "luma", grey)],
    "deblur": [Case("deblur", name, blur, border=BORDER) for name, blur in VARIANTS["deblur"].items()],
    "interpolate": [Case("interpolate", "pairs", picture_pair)],
}
FURTHER: dict[str, list[Case]] = {
    "inpaint": [
        *(Case("inpaint", name, masked(mask)) for name, mask in FURTHER_MASKS.items()),
        Case("inpaint", "box-noise-5", then_noisy(masked(box), 5)),
    ],
    "jpeg": [Case("jpeg", f"quality-{quality}", compressed(quality)) for quality in (3, 60)],
    "super-resolve": [
        Case("super-resolve", "x3", downscaled(3), 3),
        Case("super-resolve", "x4-noise-5", then_noisy(downscaled(4), 5), 4),
        Case("super-resolve", "x4-jpeg-60", small_jpeg(4, 60), 4),
    ],
}  # run only if they are chosen


def cases(task: str, chosen: Sequence[str] = (), mask: np.ndarray | None = None) -> list[Case]:
    """The cases of a task, in the order of `CASES` and `FURTHER`.

    Args:
        task: the task's name.
        chosen: names of the cases to use; empty: all of `CASES`.
        mask: the user's mask, (H, W) bool, True where unknown; adds the case "mask" to "inpaint".

    Raises:
        RestoreError: the task or a case is not known, or no case uses the mask.
    """
    if task not in CASES:
        raise RestoreError(f"--task {task}: not a task of the bench; choose one of {', '.join(CASES)}")
    if mask is not None and (task != "inpaint" or (chosen and "mask" not in chosen)):
        way = 'add --case "mask"' if task == "inpaint" else "it is for --task inpaint"
        raise RestoreError(f"--mask: no case uses it; {way}, or omit it")
    own = [] if mask is None else [Case("inpaint", "mask", masked(fixed(mask)))]
    default = [*CASES[task], *own]
    known = {case.name: case for case in [*default, *FURTHER.get(task, [])]}
    for name in chosen:
        if name not in known:
            missing = name == "mask" and task == "inpaint"
            reason = "give the file with --mask" if missing else f"{task} has {', '.join(known)}"
            raise RestoreError(f"--case {name}: {reason}")
    return [case for name, case in known.items() if name in chosen] if chosen else default
