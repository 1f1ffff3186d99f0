"""The commands that list tasks, versions, devices and models."""

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from . import printing
from .options import Report, shared

if TYPE_CHECKING:
    from ..tasks import Task


@shared
def tasks(
    options: Report,
    name: Annotated[str | None, typer.Argument(help="Only this task.", metavar="TASK", show_default=False)] = None,
) -> None:
    """List the tasks and their default schemes for each number of network evaluations (NFE).

    Example: bcm-restore tasks inpaint
    """
    from .. import tasks as registry

    found = [registry.get(task) for task in ([name] if name else registry.names())]
    if options.json:
        printing.document({task.name: {"summary": task.summary, "schemes": _plain(task)} for task in found})
        return
    for n, task in enumerate(found):
        if n:
            printing.result("")
        printing.result(f"{task.name}: {task.summary}")
        for model, cases in _plain(task).items():
            for case, table in cases.items():
                printing.result(f"  model {model}, case {case}")
                for nfe, scheme in table.items():
                    printing.result(f"    NFE {nfe}: {scheme}")


@shared
def info(options: Report) -> None:
    """Show versions, devices, models, and where files are.

    Example: bcm-restore info
    """
    facts = _facts()
    if options.json:
        printing.document(facts)
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            printing.result(f"{name}:")
            for key, entry in value.items():
                printing.result(f"  {key}: {entry}")
        else:
            printing.result(f"{name}: {value}")


def _plain(task: "Task") -> dict[str, dict[str, dict[int, str]]]:
    """The task's schemes as text."""
    return {
        model: {case: {nfe: str(scheme) for nfe, scheme in sorted(table.items())} for case, table in cases.items()}
        for model, cases in task.schemes().items()
    }


def _facts() -> dict[str, Any]:
    import cv2
    import PIL
    import torch

    from .. import package_data, weights

    devices = {"cpu": f"{torch.get_num_threads()} threads"}
    for n in range(torch.cuda.device_count()):
        devices[f"cuda:{n}"] = torch.cuda.get_device_name(n)
    models = {
        name + (" (default)" if name == weights.DEFAULT else ""): str(weights.find(name)) for name in weights.names()
    }
    return {
        "bcm-restore": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "opencv": cv2.__version__,
        "devices": devices,
        "models": models,
        "files": {
            "package": str(Path(__file__).parent.parent),
            "schemes": str(package_data.folder("tasks")),
            "weights": str(package_data.folder("weights")),
        },
    }
