"""Chains of tasks: each step restores the result of the one before, with at least 16 bits in between."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import steps as texts
from ..errors import NothingToRestore, RestoreError
from ..images import Picture, as_depth, to_pil
from ..model import BCM, Label
from ..schemes import Progress
from .arguments import COEFFICIENTS, kinds, takes_coefficients
from .arrays import as_array, check_kind
from .base import Restoration, Task, loaded
from .interpolate import Interpolate
from .paths import open_file, read_for
from .registry import get
from .several import is_several, run_several

NAME = "restore"
SKIPPED = "skipped, nothing to restore"


class Chain:
    """Tasks that run one after the other.

    Args:
        steps: "jpeg, super-resolve x2", or pairs of names and options; see `steps.parse`. The options of a step are the
            inputs of its task, and `nfe`.

    Raises:
        RestoreError: the text is malformed, there is no such task, or a task has no such option.
    """

    name = NAME

    def __init__(self, steps: texts.Steps) -> None:
        self._steps = texts.parse(steps)
        self._tasks = [step_task(step.name) for step in self._steps]
        self._inputs = texts.resolve(self._steps, lambda name: kinds(get(name)))

    def restore(self, image: Any, **options: Any) -> Any:
        """Restores a picture; takes the arguments of `run` and returns only its `image`."""
        return self.run(image, **options).image

    def run(
        self,
        image: Any,
        *,
        nfe: int | None = None,
        model: BCM | str | Path | None = None,
        label: Label | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        coefficients: Any = None,
    ) -> Restoration:
        """Restores a picture and reports how. A step that finds nothing to restore is skipped; the remark says so.

        Args:
            image: one picture or several; see `Task.run`.
            nfe: network evaluations of each step that has no `nfe` of its own; None, or for tasks without default
                schemes of that NFE: the task's default.
            model, label, seed: of all steps; see `Task.run`.
            progress: called during each step; see `Task.run`.
            coefficients: of the JPEG file, for a step "jpeg" or "super-resolve" that no other has come before; see
                `tasks.Jpeg`.

        Returns:
            The result of the last step, with the NFE of all steps together and all remarks.

        Raises:
            NothingToRestore: no step has found anything to restore.
            RestoreError: see `Task.run`.
        """
        model = loaded(model)
        run_kwargs: dict[str, Any] = {"model": model, "label": label, "seed": seed, "progress": progress}
        if is_several(image, batches=False):
            several = {"coefficients": coefficients}
            return run_several(self.name, self.run, image, several, {**run_kwargs, "nfe": nfe})
        start = _Start(image, coefficients)
        pixels: np.ndarray | None = None
        made: list[tuple[str, Restoration | str]] = []
        nothing: list[NothingToRestore] = []
        for step, task, own in zip(self._steps, self._tasks, self._inputs, strict=True):
            given, inputs = start.given(task, own) if pixels is None else (pixels, own)
            try:
                found = task.run(deepened(given), nfe=step_nfe(step, task, nfe), **run_kwargs, **inputs)
            except NothingToRestore as reason:
                nothing.append(reason)
                made.append((task.name, SKIPPED))
                continue
            pixels = start.upright(found.image) if pixels is None else found.image
            made.append((task.name, found))
        if pixels is None:
            raise nothing_in(made, nothing)
        result = joined(made)
        result.image = start.like(pixels)
        return result


class _Start:
    """The image of a chain before any step has changed it, with all that is known of it.

    Args:
        image: one image of any type, or the path of a file.
        coefficients: of the image, if it is a decoded JPEG.
    """

    def __init__(self, image: Any, coefficients: Any) -> None:
        self._image, self._coefficients = image, coefficients
        self._picture: Picture | None = None
        if not isinstance(image, str | Path):
            check_kind(image)

    def given(self, task: Task, inputs: Mapping[str, Any]) -> tuple[np.ndarray, Mapping[str, Any]]:
        """The pixels and the inputs for a task."""
        image = self._image
        if self._coefficients is not None and takes_coefficients(task):
            inputs = {**inputs, COEFFICIENTS: self._coefficients}
        if isinstance(image, str | Path):
            self._picture, inputs = read_for(task, image, inputs)
            image = to_pil(self._picture)
        if isinstance(image, Image.Image):
            image, inputs = task.prepare(image, inputs)
        return as_array(image)[0], inputs

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """A result for `given`, turned as the file says."""
        return pixels if self._picture is None else self._picture.with_pixels(pixels).upright().pixels

    def like(self, pixels: np.ndarray) -> Any:
        """The pixels as an image of the same type and depth."""
        image = open_file(self._image) if isinstance(self._image, str | Path) else self._image
        array, from_array = as_array(image)
        return from_array(as_depth(pixels, array.dtype) if array.dtype == np.uint8 else pixels)


def chain(steps: texts.Steps) -> Chain:
    """A chain of tasks: `tasks.chain("jpeg, super-resolve x2").restore(image)`; see `Chain`."""
    return Chain(steps)


def step_task(name: str) -> Task:
    """The task of a step.

    Raises:
        RestoreError: there is no such task, or it takes more than a picture.
    """
    task = get(name)
    if isinstance(task, Interpolate):
        raise RestoreError(f"{name} takes two pictures and cannot be a step; leave it out")
    return task


def step_nfe(step: texts.Step, task: Task, nfe: int | None) -> int | None:
    """The network evaluations of a step: its own, or the chain's if the task has default schemes for them."""
    if step.nfe is not None or nfe is None:
        return step.nfe
    return nfe if task.has_nfe(nfe) else None


def deepened(pixels: np.ndarray) -> np.ndarray:
    """The pixels with 16 bits if they have 8: between steps nothing is rounded to 8 bits."""
    return as_depth(pixels, np.uint16) if pixels.dtype == np.uint8 else pixels


def nothing_in(
    made: Sequence[tuple[str, Restoration | str]], reasons: Sequence[NothingToRestore], subject: str = ""
) -> NothingToRestore:
    """The error if no step has found anything: that of the only step, or one that names them all."""
    if len(reasons) == 1:
        return reasons[0]
    names = ", ".join(name for name, _ in made)
    return NothingToRestore(
        f"{subject}nothing to restore in any step ({names}); a step's options may say what there is"
    )


def joined(made: Sequence[tuple[str, Restoration | str]]) -> Restoration:
    """One restoration for all steps, each with its name and its restoration, or the remark on why it was skipped.

    The remark and the scheme are those of the steps with their names, the NFE is the sum, the image the last one's.
    """
    done = [(name, one) for name, one in made if isinstance(one, Restoration)]
    remarks = [(name, one if isinstance(one, str) else one.remark) for name, one in made]
    return Restoration(
        done[-1][1].image,
        "; ".join(f"{name}: {one.scheme}" for name, one in done),
        sum(one.nfe for _, one in done),
        ", ".join(one.case for _, one in done),
        done[-1][1].model,
        "; ".join(f"{name}: {remark}" for name, remark in remarks if remark),
    )
