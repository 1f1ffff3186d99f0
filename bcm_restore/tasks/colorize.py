"""Colorization: an RGB picture whose luma is the given one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..large import BandImage, BandProblem
from ..operators import Luma
from .arrays import AnyImage, check_values
from .band_task import BandTask

DULL = "the colours are faint guesses"
FROM_COLOUR = "a colour picture: only its luma is used"
VISIBLE = 3 / 255  # difference of channels in [-1, 1] from which a picture is coloured: more than rounding


class Colorize(BandTask):
    """The operator is the luma; the first estimate is the grey picture. The result is RGB, also for grey pictures."""

    name = "colorize"
    summary = "tints a grey picture with faint colours; its luma stays the same"

    def pose(self, image: BandImage) -> BandProblem:  # type: ignore[override]
        """Poses the problem of colouring a picture; of a colour picture only the luma is used."""
        return _Colouring(image)

    def prepare(self, image: AnyImage, inputs: Mapping[str, Any]) -> tuple[AnyImage, Mapping[str, Any]]:
        """Makes room for colours: grey pictures become RGB, PIL images of 16 bits and floats in 8 bits."""
        prepared, inputs = super().prepare(image, inputs)
        return _in_rgb(prepared), inputs


class _Colouring(BandProblem):
    """Colouring a picture whose channels are equal, or whose luma counts."""

    def __init__(self, image: BandImage) -> None:
        coloured = any(_spread(image.read(rows)) > VISIBLE for rows in image.bands())
        super().__init__(image, remark=f"{FROM_COLOUR}; {DULL}" if coloured else DULL)

    def operator(self, rows: slice) -> Luma:
        return Luma()

    def measured(self, rows: slice, operator: Any) -> Tensor:
        return operator.A(self.image.read(rows))

    def estimate(self, rows: slice) -> Tensor:
        luma = Luma()
        return luma.pinv(luma.A(self.image.read(rows)))

    def fit_tile(self, x: Tensor, rows: slice, columns: slice) -> Tensor:
        luma = Luma()
        return luma.fit(x, luma.A(self.image.read(rows, columns).to(x.device)))


def _spread(x: Tensor) -> float:
    """The largest difference between the channels of a pixel."""
    return float((x.amax(1) - x.amin(1)).max())


def _in_rgb(image: AnyImage) -> AnyImage:
    """The picture with three equal channels instead of one."""
    if isinstance(image, Image.Image):
        return _pil_in_rgb(image)
    if isinstance(image, Tensor):
        sizes = list(image.shape)
        sizes[-3] = 3
        return image.expand(sizes)
    planes = image[..., None] if image.ndim == 2 else image
    return np.repeat(planes, 3, axis=2) if planes.shape[2] == 1 else planes


def _pil_in_rgb(image: Image.Image) -> Image.Image:
    """RGB or RGBA in 8 bits, as Pillow has no colours in 16 bits or floats; without the profile of grey."""
    if image.mode.startswith("I") or image.mode == "F":
        from .pil import from_pil

        values, _ = from_pil(image)
        check_values(values)
        grey = Image.fromarray(values[0, 0].add(1).mul(127.5).round().byte().numpy())
        grey.info.update(image.info)
    elif image.mode in ("1", "L", "LA"):
        grey = image
    else:
        return image
    coloured = grey.convert("RGBA" if grey.has_transparency_data else "RGB")
    coloured.info.pop("icc_profile", None)
    return coloured
