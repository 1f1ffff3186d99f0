"""`bcm-restore web`: a page to restore pictures in the browser."""

import dataclasses
import inspect
import re
import secrets
from collections.abc import Iterator
from enum import Enum
from importlib.metadata import entry_points
from types import NoneType
from typing import Annotated, Any, get_args

import typer

from .. import package_data
from ..web.forms import Field, Form, Options
from . import printing
from .options import Batch, Calculation, Precision, Reading, option, shared
from .run import group

APART = ("inpaint", "interpolate")  # tasks with tabs of their own
COMMON = {"arguments", *(field.name for field in dataclasses.fields(Batch))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Serving(Reading, Calculation):
    """The options of `web`."""

    device: Annotated[str, option("--device", panel="Model", text="auto, cpu, cuda or cuda:1.", metavar="NAME")] = (
        "auto"
    )
    precision: Annotated[
        Precision, option("--precision", panel="Model", text="Arithmetic of the network; auto is fp32 on the CPU.")
    ] = Precision.AUTO


@shared
def web(
    options: Serving,
    host: Annotated[
        str,
        typer.Option(help="Interface to serve on. All but this computer's own ask for a password.", metavar="NAME"),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: a free one.", min=0, max=65535, metavar="N")] = 7860,
    password: Annotated[
        str | None,
        typer.Option(help="Password of the page; default: none, or a new one with --host.", metavar="TEXT"),
    ] = None,
) -> None:
    """Serve a page to paint masks and restore pictures in the browser.

    Everything works offline. Only this computer reaches the page, unless --host names another interface. Pictures are
    deleted when the page is closed.

    Example: bcm-restore web
    """
    from ..web import server  # imports asyncio, which --help can do without

    if password is None and host not in server.LOCAL:
        password = secrets.token_urlsafe(12)

    def announce(url: str) -> None:
        if options.json:
            printing.document({"address": url, "password": password})
        else:
            printing.result(url if password is None else f"{url} (any name, password {password})")

    models = tuple(sorted(path.stem for path in package_data.folder("weights").glob("*.safetensors")))
    serving = Options(models, options.device, options.precision.value, options.most_pixels)
    server.serve(server.Address(host, port, password), serving, list(forms()), announce)


def forms() -> Iterator[Form]:
    """The tasks that restore files one by one, with the options of their commands or the inputs that they declare."""
    for info in group.registered_commands:
        if info.name and info.callback and info.name not in APART:
            parameters = inspect.signature(info.callback).parameters.values()
            fields = tuple(_option(parameter) for parameter in parameters if parameter.name not in COMMON)
            yield Form(info.name, _summary(info.callback), fields, _several_nfes(info.name))
    for point in entry_points(group="bcm_restore.tasks"):
        from .. import tasks

        try:
            task = tasks.get(point.name)
        except Exception as error:  # another package's
            printing.note(f"no tab for the task {point.name}: {error}")
        else:
            yield Form(task.name, f"{task.name} {task.summary}.", tuple(Field(**vars(one)) for one in task.inputs))


def _several_nfes(task: str) -> bool:
    """Whether a task has default schemes of several NFEs, as its file says, without importing it."""
    text = (package_data.folder("tasks") / f"{task}.toml").read_text(encoding="utf-8")
    return len(set(re.findall(r"^(\d+) *=", text, re.MULTILINE))) > 1


def _option(parameter: inspect.Parameter) -> Field:
    """An option of a command."""
    annotated, info = get_args(parameter.annotation)
    kind = next(one for one in (*get_args(annotated), annotated) if one is not NoneType)
    default, choices = parameter.default, ()
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = tuple(_plain(one) for one in kind)
        default, kind = _plain(default), str
    return Field(
        parameter.name,
        kind,
        info.help or "",
        None if default is inspect.Parameter.empty else default,
        default is inspect.Parameter.empty,
        info.min,
        info.max,
        choices,
    )


def _plain(member: Any) -> Any:
    """The value of a choice; numbers as numbers."""
    value = member.value if isinstance(member, Enum) else member
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _summary(command: Any) -> str:
    return (inspect.getdoc(command) or "").partition("\n\n")[0]
