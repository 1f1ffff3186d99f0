"""The settings of a run, for any task."""

import dataclasses
from typing import Any

from ..errors import RestoreError

FORMATS = ("png", "jpg", "webp", "tiff", "avif", "bmp")
ENGINES = ("local", "ray")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How pictures are read, restored and written. The command line has an option for each.

    Attributes:
        model: name of a model or path of its file; None: the default model.
        nfe: network evaluations for each picture; None: the task's default.
        scheme: text of a scheme; None: the task's default.
        label: class of the picture, for class-conditional models: an index or an ImageNet name.
        overlap: of neighbouring windows in pixels, for models of one image size.
        device: "auto", "cpu", "cuda", "cuda:1"; several of them with commas between, or "all": a process for each.
        precision: "auto", "fp32", "bf16" or "fp16".
        seed: of the noise.
        max_pixels: most pixels that a picture may declare; see `images.read`.
        output: file or folder to write to; None: beside the inputs.
        overwrite: replace outputs that exist.
        format: one of FORMATS; None: png.
        quality: 1 to 100, of JPEG, WebP and AVIF outputs.
        compare: also write OUTPUT_compare.png, before and after side by side.
        keep_times: give outputs the modification times of their inputs.
        recursive: include subfolders.
        resume: keep all outputs that exist, whatever wrote them.
        join: share the work of a run that is writing to the output folder.
        dry_run: only report what would be done.
        engine: "local", or "ray" for a Ray cluster.
        address: of the Ray cluster; None: $RAY_ADDRESS, or else a local cluster is started.

    Raises:
        RestoreError: the format or the engine is not known.
    """

    model: str | None = None
    nfe: int | None = None
    scheme: str | None = None
    label: int | str | None = None
    overlap: int | None = None
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    max_pixels: int = 200_000_000
    output: str | None = None
    overwrite: bool = False
    format: str | None = None
    quality: int | None = None
    compare: bool = False
    keep_times: bool = False
    recursive: bool = False
    resume: bool = False
    join: bool = False
    dry_run: bool = False
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        for name, value, known in (("format", self.format, FORMATS), ("engine", self.engine, ENGINES)):
            if value is not None and value not in known:
                raise RestoreError(f"{name} '{value}' is not known; give {', '.join(known)}")

    @property
    def suffix(self) -> str:
        """The suffix of outputs that are not named."""
        return f".{self.format or 'png'}"


NAMES = frozenset(field.name for field in dataclasses.fields(Settings))


def from_keywords(keywords: dict[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """The settings among keyword arguments, and the others, which are the task's own.

    Raises:
        RestoreError: see `Settings`.
    """
    return (
        Settings(**{name: value for name, value in keywords.items() if name in NAMES}),
        {name: value for name, value in keywords.items() if name not in NAMES},
    )
