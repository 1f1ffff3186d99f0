"""Chains of tasks: each step restores the result of the one before, with at least 16 bits in between."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import steps as texts
from ..errors import NothingToRestore, RestoreError
from ..images import as_depth
from ..model import BCM, Label
from ..schemes import Progress
from .arguments import kinds, takes_coefficients
from .arrays import as_array, check_kind
from .base import DEFAULT_NFE, Restoration, Task, loaded
from .interpolate import Interpolate
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
        nfe: int = DEFAULT_NFE,
        model: BCM | str | Path | None = None,
        label: Label | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        coefficients: Any = None,
    ) -> Restoration:
        """Restores a picture and reports how. A step that finds nothing to restore is skipped; the remark says so.

        Args:
            image: one picture or several; see `Task.run`. A tensor is restored on the model's device step by step.
            nfe: network evaluations of each step that has no `nfe` of its own.
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
            inputs = {"coefficients": coefficients}
            return run_several(self.name, self.run, image, inputs, {**run_kwargs, "nfe": nfe})
        check_kind(image)
        array, from_array = as_array(image)
        depth, pixels = array.dtype, None
        made: list[tuple[str, Restoration | str]] = []
        nothing: list[NothingToRestore] = []
        for step, task, own in zip(self._steps, self._tasks, self._inputs, strict=True):
            given: Any = pixels
            if given is None:
                given, own = _unchanged(image, task, own, coefficients)
            try:
                found = task.run(deepened(given), nfe=nfe if step.nfe is None else step.nfe, **run_kwargs, **own)
            except NothingToRestore as reason:
                nothing.append(reason)
                made.append((task.name, SKIPPED))
                continue
            pixels = found.image
            made.append((task.name, found))
        if pixels is None:
            raise nothing_in(made, nothing)
        result = joined(made)
        result.image = from_array(as_depth(pixels, depth) if depth == np.uint8 else pixels)
        return result


def _unchanged(image: Any, task: Task, inputs: Mapping[str, Any], coefficients: Any) -> tuple[np.ndarray, dict]:
    """The pixels and the inputs for a task that no other has come before, with all that is known of the image."""
    own = dict(inputs)
    if coefficients is not None and takes_coefficients(task):
        own["coefficients"] = coefficients
    if isinstance(image, Image.Image):
        image, prepared = task.prepare(image, own)
        own = dict(prepared)
    return as_array(image)[0], own


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
