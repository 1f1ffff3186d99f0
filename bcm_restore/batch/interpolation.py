"""Interpolation between two files, to a folder of frames, an animation, or a row in one picture."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RestoreError
from . import engine, planning
from .engine import Engine
from .inputs import unreadable
from .observer import Evaluations, Observer
from .outcomes import Outcome, timed
from .planning import Job
from .settings import Settings

if TYPE_CHECKING:
    from ..images import Picture
    from ..tasks import Restoration

ANIMATIONS = (".gif", ".webp")


def interpolate(
    first: Path, last: Path, settings: Settings, observer: Observer, *, frames: int, fps: float, resize: bool
) -> Outcome:
    """Interpolates between two pictures.

    Args:
        first, last: the files.
        settings: the output is a folder (None: A_to_B beside A), an animation, or a picture of all frames in a row.
        observer: receives the reports.
        frames: number of frames, both included.
        fps: frames per second of an animation.
        resize: resize the last to the size of the first.

    Raises:
        RestoreError: an output exists or is an input, or the pictures do not fit together.
    """
    for path in (first, last):
        if reason := unreadable(path):
            raise RestoreError(f"{path}: {reason}")
    targets = _targets(first, last, frames, settings)
    compare = (
        planning.compare_path(targets[0] if len(targets) == 1 else targets[0].parent) if settings.compare else None
    )
    _check(first, last, targets, compare, settings)
    loaded = engine.prepare("interpolate", settings)
    outcome = Outcome([str(first), str(last)])
    observer.begin(loaded.header, [outcome])
    try:
        with timed(outcome):
            pictures, restoration = _make(loaded, outcome, observer, frames, resize)
            _write(pictures, targets, compare, settings.quality, fps)
    except Exception as error:
        outcome.fail(error)
        observer.done(outcome, error)
        raise
    outcome.output = [str(target) for target in targets] if len(targets) > 1 else str(targets[0])
    outcome.compare = str(compare) if compare else None
    outcome.size = (pictures[0].size[1], pictures[0].size[0])
    outcome.describe(restoration)
    expected = "between unlike pictures it blends and blurs, one does not turn into the other"
    if note := engine.small_model_note(loaded.model, expected):
        observer.note(note)
    observer.done(outcome, None)
    return outcome


def _targets(first: Path, last: Path, frames: int, settings: Settings) -> list[Path]:
    """The files to be written: one per frame, or one for all."""
    output = Path(settings.output) if settings.output else first.with_name(f"{first.stem}_to_{last.stem}")
    slash = (settings.output or "").endswith(("/", os.sep))
    if settings.output and output.suffix and not slash and not output.is_dir():
        if output.suffix.lower() not in ANIMATIONS:
            planning.check_suffix(output, settings.format)
        return [output]
    digits = max(3, len(str(frames - 1)))
    return [output / f"frame_{n:0{digits}}{settings.suffix}" for n in range(frames)]


def _check(first: Path, last: Path, targets: Sequence[Path], compare: Path | None, settings: Settings) -> None:
    """Refuses outputs that exist, are inputs, or would be mixed with the frames of a longer run."""
    written = [*targets, *([compare] if compare else [])]
    one_file = len(targets) == 1
    planning.protect([Job(first, path) for path in written], [first, last], allowed=one_file and settings.overwrite)
    planning.check_new(written, settings.overwrite)
    stale = [] if one_file else sorted(set(targets[0].parent.glob("frame_*")) - set(targets))
    if stale:
        raise RestoreError(
            f"{stale[-1]} belongs to a run with another number of frames; empty the folder or use another -o"
        )


def _make(
    loaded: Engine, outcome: Outcome, observer: Observer, frames: int, resize: bool
) -> "tuple[list[Picture], Restoration]":
    """Reads and interpolates."""
    from .. import images
    from ..images import pairs
    from ..tasks.transparency import fill_hidden

    files = [(name, images.file_contents(name)) for name in outcome.input]
    first, last = (images.read(name, max_pixels=loaded.settings.max_pixels, data=data) for name, data in files)
    counts = [(name, images.page_count(data)) for name, data in files]
    outcome.remark = "; ".join(f"{name}: page 1 of {count}" for name, count in counts if count > 1) or None
    if first.size != last.size and not resize:
        named = zip(outcome.input, (first, last), strict=True)
        sizes = " and ".join(f"{name} is {p.size[1]}x{p.size[0]}" for name, p in named)
        raise RestoreError(f"{sizes}; --resize resizes the second to the first")
    first, last = pairs.alike(first, last)
    images_known = tuple(fill_hidden(picture.pixels, picture.alpha) for picture in (first, last))
    restoration = loaded.task.run(images_known, frames=frames, progress=Evaluations(observer), **loaded.run_kwargs)
    made = [
        first.with_pixels(frame, pairs.mixed_alpha(first, last, n / (frames - 1)))
        for n, frame in enumerate(restoration.image)
    ]
    return made, restoration


def _write(
    pictures: "list[Picture]", targets: Sequence[Path], compare: Path | None, quality: int | None, fps: float
) -> None:
    from .. import images
    from ..images import montage

    if len(targets) > 1:
        for picture, target in zip(pictures, targets, strict=True):
            images.write(picture, target, quality=quality)
    elif targets[0].suffix.lower() in ANIMATIONS:
        images.write_animation([picture.pixels for picture in pictures], targets[0], duration_ms=round(1000 / fps))
    else:
        images.write(montage.row(pictures), targets[0], quality=quality)
    if compare:
        images.write(montage.row(pictures), compare)
