"""Restoring files and folders from Python."""

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from ..errors import RestoreError
from ..files import located
from .inputs import unreadable
from .observer import Observer
from .outcomes import Outcome
from .planning import plan
from .recipes.registry import recipe
from .run import run
from .settings import from_keywords

Name = str | Path


def restore(
    task: str,
    inputs: Name | Sequence[Name],
    *,
    output: Name | None = None,
    observer: Observer | None = None,
    **options: Any,
) -> Generator[Outcome, None, None]:
    """Restores files and folders as the command line does.

    A run over a folder can be stopped at any time, and resumes with the same call: complete outputs are kept. A picture
    that cannot be restored has an outcome with the reason, and does not stop the rest.

        for outcome in batch.restore("inpaint", ["photos/"], output="clean/", mask="logo.png", nfe=4):
            print(outcome.input, outcome.status, outcome.output)

    Args:
        task: name of the task: "inpaint", "jpeg", "super-resolve", "denoise", "deblur", "colorize", "reconstruct", or a
            task of another package; or "restore" for a chain of them, with its `steps`.
        inputs: pictures, folders and patterns such as "*.png".
        output: file or folder to write to; None: photo_inpainted.png beside photo.png, dir_inpainted/ beside dir.
        observer: receives the reports.
        **options: the fields of `Settings`, and the task's other inputs: `mask`, `invert_mask`, `mask_threshold`,
            `grow` and `fit_mask` of inpaint, `input_quality` of jpeg, `scale` and `noise` of super-resolve, `sigma`
            and `grain` of denoise, `kernel` and `noise` of deblur, `steps` of restore: "jpeg, super-resolve x2"; see
            `steps.parse`.

    Yields:
        The outcome of each picture, as soon as it is known. The work is done during the iteration; with several
        devices, in processes that import the calling script (`if __name__ == "__main__":`).

    Raises:
        RestoreError: an input or an option does not fit, or outputs would overwrite files that no earlier run wrote;
            also during the work, if the disk is full or the model is missing.
        TypeError: there is no option of that name.
    """
    settings, own = from_keywords({**options, "output": None if output is None else str(output)})
    several = [inputs] if isinstance(inputs, str | Path) else inputs
    chosen = recipe(task, settings, own)
    planned = plan([str(name) for name in several], chosen.naming, settings, chosen.apart)
    return run(planned, chosen, observer or Observer())


def restore_file(task: str, path: Name, out: Name | None = None, **options: Any) -> Outcome:
    """Restores one file, with its metadata, transparency, pages and, for a JPEG, its coefficients.

        bcm_restore.restore_file("jpeg", "old.jpg", "old_restored.png")

    Args:
        task, **options: see `restore`.
        path: the picture.
        out: the file to write; None: beside the picture.

    Raises:
        NothingToRestore: the picture shows no trace of the damage.
        RestoreError: it cannot be restored, or the output exists (`overwrite=True` replaces it).
        TypeError: there is no option of that name.
    """
    if reason := unreadable(located(str(path))):
        raise RestoreError(f"{path}: {reason}")
    if located(str(path)).is_dir():
        raise RestoreError(f"{path}: is a folder; bcm_restore.batch.restore takes folders")
    with contextlib.closing(restore(task, [path], output=out, observer=_Strict(), **options)) as outcomes:
        [outcome] = outcomes
    return outcome


class _Strict(Observer):
    """Raises the error of the picture."""

    def done(self, outcome: Outcome, error: Exception | None) -> None:
        if error:
            raise error
