"""Deblurring of files; for a JPEG, the rounding of its coefficients counts as noise."""

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..masks import MaskFile
from ..planning import Naming
from ..settings import Settings
from .base import Loaded, TaskRecipe

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...images import Picture


@dataclasses.dataclass(kw_only=True)
class DeblurRecipe(TaskRecipe):
    """Sharpens pictures.

    Attributes:
        kernel: of the blur, the word auto, or a text such as gaussian:2.
        noise: standard deviation of the pictures' noise, of 255; None: estimated.
        file: of the kernel, if it is a picture.
    """

    nothing: ClassVar[str] = "no blur found; --kernel gaussian:1 sharpens it anyway"
    task: str = "deblur"
    kernel: Any
    noise: float | None
    file: Path | None = None

    @classmethod
    def create(cls, settings: Settings, *, kernel: Any = "auto", noise: float | None = None) -> "Self":
        """The recipe for a kernel, see `tasks.Deblur.pose`; a file is read here, once for all pictures.

        Raises:
            RestoreError: the kernel is not one.
        """
        from ...operators.kernels import is_named
        from ...tasks.kernels import AUTO, as_kernel

        if isinstance(kernel, str) and kernel == AUTO:
            return cls(settings=settings, kernel=kernel, noise=noise)
        made = as_kernel(kernel)
        if isinstance(kernel, str) and is_named(kernel):
            return cls(settings=settings, kernel=kernel, noise=noise)
        return cls(settings=settings, kernel=made, noise=noise, file=_file(kernel))

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        return Naming("_deblurred", "_deblurred", self.task)

    @property
    def apart(self) -> list[Path]:
        """The file of the kernel."""
        return [self.file] if self.file else []

    def fingerprint(self) -> dict[str, Any]:
        """See `Recipe`; includes the kernel and the noise."""
        kernel = self.kernel
        if not isinstance(kernel, str):
            kernel = hashlib.sha256(repr(tuple(kernel.shape)).encode() + kernel.numpy().tobytes()).hexdigest()
        return super().fingerprint() | {"kernel": kernel, "noise": self.noise}

    def read(self, source: Path, data: bytes, mask: MaskFile | None) -> Loaded:
        """The picture, and the coefficients of a JPEG."""
        from ... import images

        loaded = super().read(source, data, mask)
        if self.noise is None:
            coefficients = images.jpeg_coefficients(source, max_pixels=self.settings.max_pixels, data=data)
            loaded.inputs["coefficients"] = coefficients
        return loaded

    def load(self, source: Path, picture: "Picture", mask: MaskFile | None, original: "Picture") -> Loaded:
        """See `TaskRecipe`."""
        return Loaded(source, picture, {"kernel": self.kernel, "noise": self.noise})


def _file(kernel: Any) -> Path | None:
    return Path(kernel) if isinstance(kernel, str | Path) else None
