"""Several pictures in one file: pages and frames, and a picture beside what it was."""

import dataclasses
from typing import TYPE_CHECKING

from .report import Skip

if TYPE_CHECKING:
    from ..images import Picture, Timing
    from .worker import Loaded, Progress, Result, Steps


@dataclasses.dataclass(frozen=True)
class Sheets:
    """The pages of a file that has several.

    Attributes:
        count: how many.
        remark: that some are left out.
        timing: of an animation.
    """

    count: int
    remark: str
    timing: "Timing | None"


def restore_pages(steps: "Steps", loaded: "Loaded", progress: "Progress") -> "Result | Exception":
    """What becomes of a file of several pages: those that have nothing to restore stay as they are."""
    from .worker import Result

    results: list[Result] = []
    skips: list[Exception] = []
    for page in (loaded, *loaded.more):
        try:
            copied = Result(page.picture, page.picture, remark=page.remark)
            results.append(copied if page.remark else steps.restore([page], progress)[0])
        except Skip as skip:
            skips.append(skip)
            upright = page.picture.upright()
            results.append(Result(upright, upright, remark="copied: nothing to restore"))
        except Exception as error:
            return error
    if len(skips) == len(results):
        return skips[0]
    first, *others = results
    made = next((result for result in results if result.restoration), first)
    more = [result.after for result in others]
    return dataclasses.replace(made, before=first.before, after=first.after, more=more, sheets=loaded.sheets)


def side_by_side(before: "Picture", after: "Picture") -> "Picture":
    """Both in one picture, `before` enlarged to the height of `after`."""
    import cv2
    import numpy as np

    def planes(picture: "Picture") -> np.ndarray:
        shape = picture.pixels.shape[:2]
        opaque = np.full(shape, np.iinfo(picture.pixels.dtype).max, picture.pixels.dtype)
        alpha = opaque if picture.alpha is None else picture.alpha
        return np.dstack([picture.pixels, alpha])

    left, right = planes(before), planes(after)
    if left.shape[0] != right.shape[0]:
        width = max(round(left.shape[1] * right.shape[0] / left.shape[0]), 1)
        left = cv2.resize(left, (width, right.shape[0]), interpolation=cv2.INTER_CUBIC)
    both = np.concatenate([left, right], axis=1)
    colours, alpha = both[:, :, :-1], both[:, :, -1]
    transparent = before.alpha is not None or after.alpha is not None
    pixels = np.ascontiguousarray(colours[:, :, 0] if after.pixels.ndim == 2 else colours)
    return dataclasses.replace(after, pixels=pixels, alpha=np.ascontiguousarray(alpha) if transparent else None)
