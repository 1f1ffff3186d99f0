"""The command that makes the pictures between two pictures."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..batch import engine, inputs, planning
from ..batch.engine import Engine
from ..batch.outcomes import Outcome, timed
from ..batch.planning import Job
from ..errors import RestoreError
from . import printing, report, standard
from .options import Common, settings, shared

if TYPE_CHECKING:
    from ..images import Picture

ANIMATIONS = (".gif", ".webp")


@shared
def interpolate(
    first: Annotated[str, typer.Argument(help="The picture that it begins with.", metavar="A", show_default=False)],
    last: Annotated[str, typer.Argument(help="The picture that it ends with.", metavar="B", show_default=False)],
    options: Common,
    frames: Annotated[
        int, typer.Option(help="Number of pictures, A and B included.", min=2, max=10_000, metavar="N")
    ] = 9,
    fps: Annotated[float, typer.Option(help="Pictures a second in an animation.", min=0.1, max=100, metavar="N")] = 10,
    resize: Annotated[bool, typer.Option("--resize", help="Resize B to the size of A.")] = False,
) -> None:
    """Make the pictures between two pictures.

    -o DIR/ gets frame_000.png and so on (A_to_B/ beside A unless given), -o FILE.gif or FILE.webp an animation, and a
    file of another format all frames in a row. - is standard input, and standard output: frames in a row, or with
    --format webp an animation.

    Example: bcm-restore interpolate day.jpg night.jpg --frames 17 -o day_to_night.gif
    """
    with standard.spooled((first, last), options) as (names, options):
        _interpolate(Path(names[0]), Path(names[1]), options, frames=frames, fps=fps, resize=resize)


def _interpolate(first: Path, last: Path, options: Common, *, frames: int, fps: float, resize: bool) -> None:
    """Checks everything, makes the frames and says what was done."""
    for path in (first, last):
        if reason := inputs.trouble(path):
            raise RestoreError(f"{path}: {reason}")
    targets = _targets(first, last, frames, options)
    compare = _compare_path(targets) if options.compare else None
    _check(first, last, targets, compare, options)
    loaded = engine.prepare("interpolate", settings(options))
    outcome = Outcome([str(first), str(last)])
    try:
        with timed(outcome):
            _make(outcome, loaded, targets, compare, options, frames=frames, fps=fps, resize=resize)
    except Exception as error:
        outcome.fail(error)
        raise
    finally:
        report.finish([outcome], loaded.header, options)
    expected = "frames between unlike pictures blend and blur, one does not turn into the other"
    if note := engine.small_model_note(loaded.model, expected):
        printing.note(note)
    if not options.json:
        printing.result(report.summary(outcome))


def _targets(first: Path, last: Path, frames: int, options: Common) -> list[Path]:
    """The files to be written: one a frame, or one for all."""
    output = Path(options.output) if options.output else first.with_name(f"{first.stem}_to_{last.stem}")
    slash = (options.output or "").endswith(("/", os.sep))
    if options.output and output.suffix and not slash and not output.is_dir():
        if output.suffix.lower() not in ANIMATIONS:
            planning.check_suffix(output, options.format and options.format.value)
        return [output]
    suffix = options.format.suffix if options.format else ".png"
    digits = max(3, len(str(frames - 1)))
    return [output / f"frame_{n:0{digits}}{suffix}" for n in range(frames)]


def _compare_path(targets: Sequence[Path]) -> Path:
    return planning.compare_path(targets[0] if len(targets) == 1 else targets[0].parent)


def _check(first: Path, last: Path, targets: Sequence[Path], compare: Path | None, options: Common) -> None:
    """Refuses outputs that exist, are inputs, or would be mixed with the frames of a longer run."""
    written = [*targets, *([compare] if compare else [])]
    one_file = len(targets) == 1
    planned = [Job(first, path) for path in written]
    planning.protect(planned, [first, last], allowed=one_file and options.overwrite)
    planning.check_new(written, options.overwrite)
    stale = [] if one_file else sorted(set(targets[0].parent.glob("frame_*")) - set(targets))
    if stale:
        raise RestoreError(f"{stale[-1]} belongs to a run with other frames; empty the folder or use another -o")


def _make(
    outcome: Outcome,
    loaded: Engine,
    targets: Sequence[Path],
    compare: Path | None,
    options: Common,
    *,
    frames: int,
    fps: float,
    resize: bool,
) -> None:
    """Reads, interpolates and writes."""
    from .. import images
    from ..images import montage, pairs
    from ..tasks.transparency import fill_hidden
    from .progress import Bar

    files = [(name, images.file_contents(name)) for name in outcome.input]
    first, last = (images.read(name, max_pixels=options.most_pixels, data=data) for name, data in files)
    outcome.remark = _left_out(files)
    if first.size != last.size and not resize:
        raise RestoreError(f"{_sizes(outcome.input, (first, last))}; --resize resizes the second to the first")
    first, last = pairs.alike(first, last)
    with Bar(1, "interpolations", quiet=options.json) as bar:
        pair = tuple(fill_hidden(picture.pixels, picture.alpha) for picture in (first, last))
        restoration = loaded.task.run(pair, frames=frames, progress=bar.evaluation, **loaded.run_kwargs)
        bar.file(sum(frame.shape[0] * frame.shape[1] for frame in restoration.image))
    made = [
        first.with_pixels(frame, pairs.mixed_alpha(first, last, n / (frames - 1)))
        for n, frame in enumerate(restoration.image)
    ]
    row = montage.row(made) if compare or len(targets) == 1 else None
    if len(targets) > 1:
        for picture, target in zip(made, targets, strict=True):
            images.write(picture, target, quality=options.quality)
    elif targets[0].suffix.lower() in ANIMATIONS:
        images.write_animation([picture.pixels for picture in made], targets[0], duration_ms=round(1000 / fps))
    else:
        assert row is not None
        images.write(row, targets[0], quality=options.quality)
    if compare:
        assert row is not None
        images.write(row, compare)
        outcome.compare = str(compare)
    outcome.output = [str(target) for target in targets] if len(targets) > 1 else str(targets[0])
    outcome.size = (first.size[1], first.size[0])
    outcome.describe(restoration)


def _left_out(files: Sequence[tuple[str, bytes]]) -> str | None:
    """What is said of pictures that have further pages."""
    from .. import images

    counts = [(name, images.page_count(data)) for name, data in files]
    return "; ".join(f"{name}: page 1 of {count}" for name, count in counts if count > 1) or None


def _sizes(names: Sequence[str], pictures: "Sequence[Picture]") -> str:
    return " and ".join(f"{name} is {p.size[1]}x{p.size[0]}" for name, p in zip(names, pictures, strict=True))
