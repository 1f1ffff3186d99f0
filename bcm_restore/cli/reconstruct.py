"""The command that turns pictures into noise and back."""

from pathlib import Path
from typing import TYPE_CHECKING

from . import engine, inputs, jobs, printing
from .inputs import Naming
from .jobs import Result
from .options import Inputs, RoundTrip, shared

if TYPE_CHECKING:
    from .progress import Bar


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

    planned, single = inputs.find(arguments, Naming("_reconstructed", "_reconstructed"), options)
    scheme = samplers.round_trip(engine.given_scheme(options) or options.nfe or 2)
    model = engine.load(options, options.model)
    schemes.check(scheme, model)
    errors: list[float] = []

    def there_and_back(path: Path, bar: "Bar") -> Result:
        picture = images.read(path, max_pixels=options.most_pixels)
        x, back = to_tensor(picture.pixels)
        found = samplers.reconstruct(model, x, scheme, label=options.label, seed=options.seed, progress=bar.evaluation)
        [mse] = found.mse.tolist()
        errors.append(mse)
        after = picture.with_pixels(back(found.image))
        return Result(picture, after, Restoration(after, scheme, scheme.nfe, "any", model.name), mse=mse)

    try:
        jobs.run(planned, there_and_back, engine.header("reconstruct", model, options.seed), options, single)
    finally:
        if len(errors) > 1 and not options.json:
            printing.result(f"mean MSE {sum(errors) / len(errors):.5f} ({len(errors)} pictures, NFE {scheme.nfe})")
