"""Tasks that restore images of any size: the problem is posed band by band, and a small image is one band."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from .. import large, spans
from ..large import BandImage, BandProblem, DiskImage, MemoryImage
from ..model import Noise
from ..schemes import Scheme
from .arrays import ArrayImage, as_array, check_values, from_disk, is_one, size_of
from .base import Problem, Restoration, RunOptions, Task


class BandTask(Task):
    """A task that restores large images in temporary files. Subclasses document the inputs of their `pose`."""

    @abstractmethod
    def pose(self, image: BandImage, **inputs: Any) -> BandProblem:
        """Poses the problem of restoring an image, with the inputs of `restore`.

        Raises:
            RestoreError: an input is missing or does not fit the image.
        """

    def problem(self, image: Tensor, **inputs: Any) -> Problem:
        """See `Task.problem`; the inputs are those of `pose`."""
        posed = self.pose(MemoryImage(image), **inputs)
        rows = slice(0, posed.size[0])
        operator = posed.operator(rows)
        x = MemoryImage(posed.estimate(rows))
        posed.complete(x)
        y = posed.measured(rows, operator)
        return Problem(operator, y, x.pixels, t0=posed.t0, case=posed.case, remark=posed.remark)

    def is_large(self, size: tuple[int, int], **inputs: Any) -> bool:
        """Whether an image of `size` is restored in files: its result has more than `spans.LARGE` pixels."""
        return size[0] * size[1] > spans.LARGE

    def restore_large(self, image: Any, inputs: Mapping[str, Any], options: RunOptions) -> Restoration | None:
        """See `Task.restore_large`."""
        model = options.model
        if not (model.network.exact_tiles and is_one(image) and self.is_large(size_of(image), **inputs)):
            return None
        array, from_array = as_array(image)
        posed, scheme = self._pose_array(array, inputs, options)

        def finish(result: DiskImage) -> Any:
            posed.finish(result)
            return from_array(from_disk(result, array))

        restored = large.run(scheme, model, posed, Noise([options.seed]), finish, options.progress)
        return Restoration(restored, scheme, scheme.nfe, posed.case, model.name, posed.remark)

    def _pose_array(
        self, array: np.ndarray, inputs: Mapping[str, Any], options: RunOptions
    ) -> tuple[BandProblem, Scheme]:
        """Poses the problem of restoring an array band by band, and chooses its scheme."""
        model, source = options.model, ArrayImage(array)
        if np.issubdtype(array.dtype, np.floating):
            ignored = self.ignored(source.size, **inputs)
            for rows in source.bands():
                check_values(source.read(rows), None if ignored is None else ignored[:, :, rows])
        source, inputs, remark = self.preprocess(source, inputs, model, options.label)
        posed = self.pose(source.on(model.device), **inputs)
        posed.labels, posed.remark = model.labels(options.label), remark or posed.remark
        return posed, self.choose(options.scheme, options.nfe, model, posed.case)
