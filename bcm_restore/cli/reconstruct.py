"""The command that turns pictures into noise and back."""

from pathlib import Path
from typing import TYPE_CHECKING

from . import engine, inputs, jobs
from .inputs import Naming
from .options import Inputs, RoundTrip, shared
from .worker import Result, Steps

if TYPE_CHECKING:
    from ..images import Picture
    from .progress import Bar

TASK = "reconstruct"


@shared
def reconstruct(arguments: Inputs, options: RoundTrip) -> None:
    """Turn pictures into noise and back, and measure what is lost.

    Prints each picture's mean squared error, of pixels between 0 and 1, and the mean of them all. The output is
    photo_reconstructed.png beside photo.png, or the folder dir_reconstructed beside dir, with a comparison for each
    picture: before and after, side by side.

    Example: bcm-restore reconstruct photos/ --nfe 2
    """
    from .. import images, samplers, schemes
    from ..tasks import Restoration
    from ..tasks.arrays import to_tensor

    planned, single = inputs.find(arguments, Naming("_reconstructed", "_reconstructed", TASK), options)
    scheme = samplers.round_trip(engine.given_scheme(options) or options.nfe or 2)
    model = engine.load(options, options.model)
    schemes.check(scheme, model)

    def there_and_back(path: Path, picture: "Picture", bar: "Bar") -> Result:
        x, back = to_tensor(picture.pixels)
        found = samplers.reconstruct(model, x, scheme, label=options.label, seed=options.seed, progress=bar.evaluation)
        [mse] = found.mse.tolist()
        after = picture.with_pixels(back(found.image))
        return Result(picture, after, Restoration(after, scheme, scheme.nfe, "any", model.name), mse=mse)

    def read(path: Path) -> "Picture":
        return images.read(path, max_pixels=options.most_pixels)

    steps = Steps(read, there_and_back, lambda: engine.settings(TASK, str(scheme), options))
    jobs.run(planned, steps, engine.header(TASK, model, options.seed), options, single)
