"""Controls that the tabs share."""

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import RestoreError
from . import work
from .forms import Field, Options
from .storage import Session, Storage

RUNNING = {"concurrency_id": "restore", "concurrency_limit": 1}  # of all events that restore: others queue
SHORT = {"concurrency_id": "short", "concurrency_limit": 4, "show_progress": "hidden"}
HIDDEN = {"api_visibility": "undocumented"}

Updates = dict[Any, Any]

class UploadedFile(gr.File):
    """A file input that gives paths of the files as they were uploaded; gradio's own makes further, empty files."""

    def preprocess(self, payload: Any) -> Any:
        """The paths."""
        several = payload if isinstance(payload, list) or payload is None else getattr(payload, "root", [payload])
        return [file.path for file in several or []]
    from collections.abc import Callable, Sequence
    from typing import TYPE_CHECKING, Any, Literal

    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

class UploadedImage(gr.Image):
    """An image input, with drop and paste, that gives the path of the file; gradio's own decodes it first."""

    def preprocess(self, payload: Any) -> Any:
        """The path."""
        return payload.path if payload else None
    from collections.abc import Callable, Sequence
    from typing import TYPE_CHECKING, Any, Literal

    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

class MaskButton(gr.UploadButton):
    """An upload button that gives the path of the file."""

    def preprocess(self, payload: Any) -> Any:
        """The path."""
        return payload.path if payload else None
    from collections.abc import Callable, Sequence
    from typing import TYPE_CHECKING, Any, Literal

    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

@dataclass
class Page:
    """What the tabs share.

    Attributes:
        storage: the sessions and their files.
        options: of the server.
    """

    storage: Storage
    options: Options

    def session(self, request: gr.Request) -> Session:
        """The session of a request."""
        return self.storage.session(str(request.session_hash))

    def reported(self, status: gr.HTML) -> Callable[[Callable[..., Updates]], Callable[..., Updates]]:
        """Decorates the function of an event: errors become the status line, and change nothing else."""

        def decorate(run: Callable[..., Updates]) -> Callable[..., Updates]:
            @functools.wraps(run)
            def guarded(*arguments: Any, **more: Any) -> Updates:
                try:
                    return run(*arguments, **more)
                except work.Cancelled as error:
                    return {status: work.as_html([work.message(error)])}
                except Exception as error:
                    return {status: self.lines([work.message(error)], failed=True)}

            return guarded

        return decorate

    def lines(self, texts: Iterable[str], failed: bool = False) -> str:
        """Lines for the status line, with the names of files instead of their paths on the server."""
        path = re.escape(str(self.storage.root)) + r"/([^\s/]+/)*"
        return work.as_html([re.sub(path, "", text) for text in texts], failed)

    def cancel(self, status: gr.HTML, button: gr.Button, runs: Any) -> None:
        """Makes a button cancel the event `runs`, also while it waits."""

        def stop(request: gr.Request) -> Updates:
            self.session(request).stop.set()
            return {status: work.as_html(["Cancelled."])}

        button.click(stop, None, [status], cancels=[runs], queue=False, **HIDDEN)

@dataclass
class Quality:
    """The preset, and the options under it."""

    preset: gr.Radio
    model: gr.Dropdown
    scheme: gr.Textbox
    seed: gr.Number

    @property
    def inputs(self) -> list[Any]:
        """The components, for `chosen`."""
        return [self.preset, self.model, self.scheme, self.seed]

def preset() -> gr.Radio:
    """The choice of the number of evaluations."""
    names = [f"{name}" for name in work.PRESETS]
    return gr.Radio(names, value="Balanced", label="Quality", info="1, 4 or 8 network evaluations")

def quality(options: Options, radio: gr.Radio) -> Quality:
    """The options for experts, beside a preset."""
    with gr.Row():
        model = gr.Dropdown(list(options.models), value=options.models[0], label="Model")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**32 - 1)
    scheme = gr.Textbox(label="Scheme", placeholder="the default of the task and the quality", max_lines=1)
    return Quality(radio, model, scheme, seed)

def chosen(options: Options, preset: str, model: str, scheme: str, seed: float | None) -> dict[str, Any]:
    """The options of `batch.restore` for the values of a `Quality`."""
    return {
        "nfe": work.PRESETS[preset],
        "model": model,
        "scheme": scheme.strip() or None,
        "seed": int(seed or 0),
        "device": options.device,
        "precision": options.precision,
        "max_pixels": options.max_pixels,
    }

def control(field: Field) -> Any:
    """The component for an input of a task."""
    label = field.name.replace("_", " ").capitalize()
    if field.choices:
        return gr.Dropdown(list(field.choices), value=field.default, label=label, info=field.help)
    if field.kind is bool:
        return gr.Checkbox(bool(field.default), label=label, info=field.help)
    if field.kind in (int, float):
        precision = 0 if field.kind is int else None
        bounds = {"minimum": field.minimum, "maximum": field.maximum}
        return gr.Number(field.default, label=label, info=field.help, precision=precision, **bounds)
    if field.kind is Path:
        return UploadedFile(label=f"{label}: {field.help}", height=90)
    return gr.Textbox(field.default or "", label=label, info=field.help, max_lines=1)

def given(page: Page, session: Session, fields: Iterable[Field], values: Iterable[Any]) -> dict[str, Any]:
    """The inputs of a task from the values of their controls; empty ones are left out.

    Raises:
        RestoreError: a required one is empty.
    """
    found: dict[str, Any] = {}
    for field, value in zip(fields, values, strict=True):
        if field.kind is Path:
            value = next(iter(page.storage.claim(session, value or [])), None)
        if value is None or value == "":
            if field.required:
                raise RestoreError(f"{field.name.replace('_', ' ')} is missing: {field.help}")
            continue
        found[field.name] = value
    return found

def progress_of(progress: gr.Progress) -> work.Progress:
    """The function that shows progress on the page."""

    def show(share: float, text: str) -> None:
        progress(share, desc=text)

    return show
