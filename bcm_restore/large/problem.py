"""A problem posed band by band: a small picture is one band."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from ..operators import Operator
from ..spans import widened
from .images import BandImage, DiskImage, MemoryImage


class BandProblem(ABC):
    """A degradation, what was measured and a first estimate, each for a band of rows at a time.

    Attributes:
        image: the damaged picture.
        size: (H, W) of the result.
        t0, case, labels, remark: as of `tasks.Problem`.
        unit: bands begin at multiples of it.
        reach: rows beyond a band that `estimate` and `fit` need for the band's own pixels.
    """

    unit = 1
    reach = 0
    labels: Tensor | None = None

    def __init__(self, image: BandImage, *, t0: float = 0.0, case: str = "any", remark: str = "") -> None:
        self.image, self.size, self.t0, self.case, self.remark = image, image.size, t0, case, remark

    @abstractmethod
    def operator(self, rows: slice) -> Operator:
        """The degradation of a band."""

    def measured(self, rows: slice, operator: Operator) -> Any:
        """What was measured of a band, given its degradation; here the picture itself."""
        return self.image.read(rows)

    def estimate(self, rows: slice) -> Tensor:
        """The first estimate of a band, (B, 3, h, W); here the picture itself."""
        return self.image.read(rows)

    def complete(self, x: DiskImage | MemoryImage) -> None:
        """Adds to the first estimate, in place, what needs all of its bands; here nothing."""
        return

    def begin(self, x: DiskImage) -> None:
        """Writes the first estimate."""
        for rows in x.bands(self.unit):
            x.write(self.estimate(rows), rows)
        self.complete(x)

    def known(self, rows: slice, columns: slice) -> Tensor | None:
        """(1, 1, h, w) bool, the known pixels of a region; None where the task has none."""
        return None

    def fit_tile(self, x: Tensor, rows: slice, columns: slice) -> Tensor | None:
        """Data consistency of a tile (1, 3, h, w) where pixels have no say in each other's; None where they have."""
        return None

    def fit(self, x: DiskImage, fitted: DiskImage) -> None:
        """Data consistency, written into `fitted`."""
        for rows in x.bands(self.unit):
            outer, inner = widened(rows, self.reach, self.size[0])
            operator = self.operator(outer)
            part = x.read(outer)
            y = self.measured(outer, operator)
            fitted.write(operator.fit(part, y.to(part.device) if isinstance(y, Tensor) else y)[:, :, inner], rows)
