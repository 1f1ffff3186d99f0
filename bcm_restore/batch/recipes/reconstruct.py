"""Reconstruction of pictures: to noise and back."""

import dataclasses
import functools
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import engine
from ..masks import MaskFile
from ..observer import Evaluations, Observer
from ..outcomes import Header
from ..planning import Naming
from ..settings import Settings
from .base import Loaded, Recipe, Result

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...model import BCM
    from ...schemes import Scheme

TASK = "reconstruct"


@dataclasses.dataclass(kw_only=True)
class ReconstructRecipe(Recipe):
    """Takes pictures to noise and back."""

    @classmethod
    def create(cls, settings: Settings) -> "Self":
        """The recipe, which needs nothing else."""
        return cls(settings=settings)

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        return Naming("_reconstructed", "_reconstructed", TASK)

    @functools.cached_property
    def scheme(self) -> "Scheme":
        """The moves to noise and back."""
        from ... import samplers

        return samplers.round_trip(engine.given_scheme(self.settings) or self.settings.nfe or 2)

    @functools.cached_property
    def model(self) -> "BCM":
        """The model, loaded at first use."""
        from ... import schemes

        model = engine.load(self.settings)
        schemes.check(self.scheme, model)
        return model

    @property
    def header(self) -> Header:
        """See `Recipe`."""
        return engine.header(TASK, self.model, self.settings.seed)

    def fingerprint(self) -> dict[str, Any]:
        """See `Recipe`."""
        return engine.fingerprint(TASK, str(self.scheme), self.settings)

    def read(self, source: Path, data: bytes, mask: MaskFile | None) -> Loaded:
        """The picture."""
        from ... import images

        return Loaded(source, images.read(source, max_pixels=self.settings.max_pixels, data=data))

    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """Pictures of one size, as many as the model evaluates at once."""
        return loaded.picture.size, self.model.at_once(*loaded.picture.size)

    def restore(self, several: Sequence[Loaded], observer: Observer) -> list[Result]:
        """See `Recipe`."""
        import torch

        from ... import samplers
        from ...tasks import Restoration
        from ...tasks.arrays import to_tensor
        from ...tasks.transparency import fill_hidden

        known = (fill_hidden(one.picture.pixels, one.picture.alpha) for one in several)
        tensors, backs = zip(*map(to_tensor, known), strict=True)
        settings, x = self.settings, torch.cat(tensors)
        found = samplers.reconstruct(
            self.model, x, self.scheme, label=settings.label, seed=settings.seed, progress=Evaluations(observer)
        )
        results = []
        for one, image, back, mse in zip(several, found.image.split(1), backs, found.mse.tolist(), strict=True):
            after = one.picture.with_pixels(back(image))
            made = Restoration(after, self.scheme, self.scheme.nfe, "any", self.model.name)
            results.append(Result(one.picture, after, made, mse=mse))
        return results
