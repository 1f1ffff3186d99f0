"""Chains of tasks on files: each step restores the result of the one before."""

import dataclasses
import functools
import math
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ... import steps as texts
from ...errors import NothingToRestore, RestoreError
from .. import engine
from ..masks import MaskFile
from ..observer import Observer
from ..outcomes import Header
from ..planning import Naming
from ..settings import Settings
from .base import Loaded, Recipe, Result, TaskRecipe

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Self

    from ...images import Picture
    from ...model import BCM
    from ...tasks import Restoration

TASK = "restore"


@dataclasses.dataclass(kw_only=True)
class ChainRecipe(Recipe):
    """Restores pictures step by step, with 16 bits in between.

    Attributes:
        steps: the recipe of each task.
    """

    steps: Sequence[TaskRecipe]

    @classmethod
    def create(cls, settings: Settings, *, steps: texts.Steps | None = None) -> "Self":
        """The recipe for a text such as "jpeg, super-resolve x2"; see `steps.parse`.

        Raises:
            RestoreError: a step is not valid, or the settings have a scheme.
        """
        from ...tasks.chain import step_nfe, step_task
        from .registry import kinds, recipe

        if steps is None:
            raise RestoreError('restore needs steps, such as "jpeg, super-resolve x2"')
        if settings.scheme is not None:
            raise RestoreError("a scheme belongs to one task, not to a chain; give a step its own nfe=N instead")
        parsed = texts.parse(steps)
        tasks = [step_task(step.name) for step in parsed]
        inputs = texts.resolve(parsed, kinds)
        nfes = [step_nfe(step, task, settings.nfe) for step, task in zip(parsed, tasks, strict=True)]
        recipes = [
            recipe(task.name, dataclasses.replace(settings, nfe=nfe), own)
            for task, nfe, own in zip(tasks, nfes, inputs, strict=True)
        ]
        return cls(settings=settings, steps=cast("list[TaskRecipe]", recipes))

    def on(self, device: str) -> "Self":
        """See `Recipe`."""
        return dataclasses.replace(super().on(device), steps=[step.on(device) for step in self.steps])

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        return Naming("_restored", "_restored", TASK)

    @property
    def apart(self) -> list[Path]:
        """See `Recipe`."""
        return [path for step in self.steps for path in step.apart]

    @functools.cached_property
    def _model(self) -> "BCM":
        return engine.load(self.settings)

    @functools.cached_property
    def _ready(self) -> Sequence[TaskRecipe]:
        """The steps with one model, which is loaded at first use."""
        for step in self.steps:
            step.use(self._model)
        return self.steps

    @property
    def header(self) -> Header:
        """See `Recipe`."""
        return engine.header(TASK, self._ready[0].engine.model, self.settings.seed)

    def fingerprint(self) -> dict[str, Any]:
        """See `Recipe`; has the fingerprints of the steps."""
        found = [step.fingerprint() for step in self._ready]
        return {**found[0], "task": TASK, "steps": found}

    def preload(self) -> None:
        """See `Recipe`."""
        for step in self.steps:
            step.preload()

    def mask(self, source: Path) -> MaskFile | None:
        """See `Recipe`; at most one step has a mask."""
        return next((mask for step in self.steps if (mask := step.mask(source))), None)

    def pixels(self, data: bytes) -> int:
        """See `Recipe`."""
        return super().pixels(data) * self._scale**2

    @property
    def _scale(self) -> int:
        return math.prod(step.scale for step in self.steps)

    def read(self, source: Path, data: bytes, mask: MaskFile | None) -> Loaded:
        """See `Recipe`; as the first step reads it."""
        first = self.steps[0].read(source, data, mask)
        return Loaded(source, first.picture, {"first": first, "data": data, "mask": mask})

    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """See `Recipe`; as many as the model evaluates at once in the largest size."""
        height, width = loaded.picture.size
        first, _ = self._ready[0].alike(loaded.inputs["first"])
        return first, self._model.at_once(height * self._scale, width * self._scale)

    def restore(self, several: Sequence[Loaded], observer: Observer) -> list[Result]:
        """See `Recipe`; a step that finds nothing to restore is skipped."""
        passages = [_Passage(one) for one in several]
        for step in self._ready:
            groups: dict[Hashable, list[tuple[_Passage, Loaded]]] = {}
            for passage in passages:
                loaded = passage.loaded(step)
                if loaded.remark:
                    passage.add(step.task, Result(loaded.picture, loaded.picture, remark=loaded.remark))
                else:
                    groups.setdefault(step.alike(loaded)[0], []).append((passage, loaded))
            for group in groups.values():
                results = _results(step, [loaded for _, loaded in group], observer)
                for (passage, _), result in zip(group, results, strict=True):
                    passage.add(step.task, result)
        return [passage.result() for passage in passages]


class _Passage:
    """The way of a picture through the steps.

    Args:
        loaded: from `ChainRecipe.read`.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._source, self._first = loaded.source, loaded.inputs["first"]
        self._data, self._mask = loaded.inputs["data"], loaded.inputs["mask"]
        self._original = self._picture = loaded.picture.upright()
        self._made: list[tuple[str, Restoration | str]] = []
        self._nothing: list[NothingToRestore] = []

    def loaded(self, step: TaskRecipe) -> Loaded:
        """The picture for a step, with 16 bits; as long as no step has changed it, with all that its file has."""
        if self._picture is not self._original:
            loaded = step.load(self._source, self._picture, self._mask, self._original)
        elif self._made:
            loaded = step.read(self._source, self._data, self._mask)
        else:
            loaded = self._first
        return dataclasses.replace(loaded, picture=_in_depth(loaded.picture, "uint16"))

    def add(self, name: str, result: "Result | NothingToRestore") -> None:
        """Adds the result of a step."""
        from ...tasks.chain import SKIPPED

        if isinstance(result, NothingToRestore):
            self._nothing.append(result)
            self._made.append((name, SKIPPED))
        elif result.restoration is None:
            self._made.append((name, f"skipped, {result.remark.removeprefix('copied: ')}"))
        else:
            remark = ", ".join(filter(None, (result.remark, result.restoration.remark)))
            self._made.append((name, dataclasses.replace(result.restoration, image=None, remark=remark)))
            self._picture = result.after

    def result(self) -> Result:
        """The result of all steps.

        Raises:
            NothingToRestore: no step has found anything to restore.
        """
        from ...tasks.chain import joined, nothing_in

        if len(self._nothing) == len(self._made):
            raise nothing_in(self._made, self._nothing, f"{self._source}: ")
        if self._picture is self._original:
            remark = "; ".join(f"{name}: {remark}" for name, remark in self._made)
            return Result(self._original, self._original, remark=f"copied: {remark}")
        return Result(self._original, _in_depth(self._picture, self._original.pixels.dtype), joined(self._made))


def _results(step: TaskRecipe, several: Sequence[Loaded], observer: Observer) -> "list[Result | NothingToRestore]":
    """The result of a step for pictures that are alike."""
    try:
        return [*step.restore(several, observer)]
    except NothingToRestore as nothing:
        if len(several) == 1:
            return [nothing]
    return [result for one in several for result in _results(step, [one], observer)]


def _in_depth(picture: "Picture", dtype: "np.dtype | str") -> "Picture":
    """The same picture with that type of pixels."""
    import numpy as np

    from ...images import as_depth

    kind = np.dtype(dtype)
    alpha = None if picture.alpha is None else as_depth(picture.alpha, kind)
    return dataclasses.replace(picture, pixels=as_depth(picture.pixels, kind), alpha=alpha)
