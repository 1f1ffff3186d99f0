"""The command that turns pictures into noise and back."""

import dataclasses
import functools
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import engine
from .inputs import Naming
from .options import Inputs, RoundTrip, shared
from .report import Header
from .restore import restore
from .worker import Loaded, Progress, Result, Steps

if TYPE_CHECKING:
    from ..model import BCM
    from ..schemes import Scheme

TASK = "reconstruct"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundTrips(Steps):
    """Takes pictures to noise and back."""

    @functools.cached_property
    def scheme(self) -> "Scheme":
        """The moves there and back."""
        from .. import samplers

        return samplers.round_trip(engine.given_scheme(self.options) or self.options.nfe or 2)

    @functools.cached_property
    def model(self) -> "BCM":
        """Loaded when it is first asked for."""
        from .. import schemes

        model = engine.load(self.options, self.options.model)
        schemes.check(self.scheme, model)
        return model

    @property
    def header(self) -> Header:
        """See `Steps`."""
        return engine.header(TASK, self.model, self.options.seed)

    def settings(self) -> dict[str, Any]:
        """See `Steps`."""
        return engine.settings(TASK, str(self.scheme), self.options)

    def read(self, source: Path, data: bytes) -> Loaded:
        """The picture."""
        from .. import images

        return Loaded(source, images.read(source, max_pixels=self.options.most_pixels, data=data))

    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """Pictures of one size, as many as the model evaluates at once."""
        return loaded.picture.size, self.model.at_once(*loaded.picture.size)

    def restore(self, several: Sequence[Loaded], progress: Progress) -> list[Result]:
        """See `Steps`."""
        import torch

        from .. import samplers
        from ..tasks import Restoration
        from ..tasks.arrays import to_tensor
        from ..tasks.transparency import fill_hidden

        known = (fill_hidden(one.picture.pixels, one.picture.alpha) for one in several)
        tensors, backs = zip(*map(to_tensor, known), strict=True)
        options, x = self.options, torch.cat(tensors)
        found = samplers.reconstruct(
            self.model, x, self.scheme, label=options.label, seed=options.seed, progress=progress
        )
        results = []
        for one, image, back, mse in zip(several, found.image.split(1), backs, found.mse.tolist(), strict=True):
            after = one.picture.with_pixels(back(image))
            how = Restoration(after, self.scheme, self.scheme.nfe, "any", self.model.name)
            results.append(Result(one.picture, after, how, mse=mse))
        return results


@shared
def reconstruct(arguments: Inputs, options: RoundTrip) -> None:
    """Turn pictures into noise and back, and measure what is lost.

    Prints each picture's mean squared error, of pixels between 0 and 1, and the mean of them all. The output is
    photo_reconstructed.png beside photo.png, or the folder dir_reconstructed beside dir, with a comparison for each
    picture: before and after, side by side.

    Example: bcm-restore reconstruct photos/ --nfe 2
    """
    restore(arguments, Naming("_reconstructed", "_reconstructed", TASK), RoundTrips(options=options))
