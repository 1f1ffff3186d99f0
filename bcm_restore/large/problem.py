"""Problems that are posed band by band; a small image is one band."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from ..operators import Operator, data_consistency
from ..spans import widened
from .images import BandImage, DiskImage, MemoryImage


class BandProblem(ABC):
    """The degradation operator, the measurements and the first estimate, for one band of rows at a time.

    Attributes:
        image: the degraded image.
        size: (H, W) of the result.
        t0, case, labels, remark: see `tasks.Problem`.
        unit: bands start at multiples of it.
        reach: rows beyond a band that `estimate` and `fit` need for the band's pixels.
    """

    unit = 1
    reach = 0
    labels: Tensor | None = None

    def __init__(self, image: BandImage, *, t0: float = 0.0, case: str = "any", remark: str = "") -> None:
        self.image, self.size, self.t0, self.case, self.remark = image, image.size, t0, case, remark

    @abstractmethod
    def operator(self, rows: slice) -> Operator:
        """The degradation operator of a band."""

    def measured(self, rows: slice, operator: Operator) -> Any:
        """The measurements of a band, given its operator; by default the image itself."""
        return self.image.read(rows)

    def estimate(self, rows: slice) -> Tensor:
        """The first estimate of a band, (B, 3, h, W); by default the image itself."""
        return self.image.read(rows)

    def complete(self, x: DiskImage | MemoryImage) -> None:
        """Completes the first estimate in place where that needs all bands; by default does nothing."""
        return

    def begin(self, x: DiskImage) -> None:
        """Writes the first estimate."""
        for rows in x.bands(self.unit):
            x.write(self.estimate(rows), rows)
        self.complete(x)

    def finish(self, x: DiskImage) -> None:
        """Completes the result in place; by default does nothing."""
        return

    def known(self, rows: slice, columns: slice) -> Tensor | None:
        """The known pixels of a region, (1, 1, h, w) bool; None if the task has none."""
        return None

    def fit_tile(self, x: Tensor, rows: slice, columns: slice) -> Tensor | None:
        """Data consistency of a tile (1, 3, h, w) if `fit` is pixelwise, else None."""
        return None

    def fit(self, x: DiskImage, fitted: DiskImage, error: float = 0.0) -> None:
        """Data consistency of the whole image, written to `fitted`; for `error` see `data_consistency`."""
        for rows in x.bands(self.unit):
            outer, inner = widened(rows, self.reach, self.size[0])
            operator = self.operator(outer)
            part = x.read(outer)
            y = self.measured(outer, operator)
            y = y.to(part.device) if isinstance(y, Tensor) else y
            fitted.write(data_consistency(operator, part, y, error)[:, :, inner], rows)
