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

# Arguments of events. All that restore share one place, and queue for it; none is in the documentation of an API.
HIDDEN: dict[str, Any] = {"api_visibility": "undocumented"}
RUNNING: dict[str, Any] = {**HIDDEN, "concurrency_id": "restore", "concurrency_limit": 1}
SHORT: dict[str, Any] = {**HIDDEN, "concurrency_id": "short", "concurrency_limit": 4, "show_progress": "hidden"}

KERNELS = "gaussian:SIGMA, motion:LENGTH:ANGLE, disk:RADIUS or auto"  # a file would be one of the server's

Updates = dict[Any, Any]


def as_uploaded(component: Any) -> Any:
    """Makes an input of files give the list of their paths as they were uploaded.

    By itself gradio would decode pictures, with its own messages, and make further files. A subclass would count as a
    component with a front end of its own.
    """

    def paths(payload: Any) -> list[str]:
        several = getattr(payload, "root", payload)
        return [file.path for file in (several if isinstance(several, list) else [several]) if file is not None]

    component.preprocess = paths
    return component


def file_input(label: str, **options: Any) -> Any:
    """An input of files."""
    return as_uploaded(gr.File(label=label, **options))


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

        button.click(stop, None, [status], cancels=[runs], **SHORT)


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


def preset(visible: bool = True) -> gr.Radio:
    """The choice of the number of evaluations."""
    info = "1, 4 or 8 network evaluations"
    return gr.Radio(list(work.PRESETS), value="Balanced", label="Quality", info=info, visible=visible)


def quality(options: Options, radio: gr.Radio) -> Quality:
    """The options for experts, beside a preset."""
    with gr.Row():
        model = gr.Dropdown(list(options.models), value=options.models[0], label="Model")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**32 - 1)
    scheme = gr.Textbox(label="Scheme", placeholder="the default of the task and the quality", max_lines=1)
    return Quality(radio, model, scheme, seed)


def chosen(options: Options, preset: str, model: str, scheme: str | None, seed: float | None) -> dict[str, Any]:
    """The options of `batch.restore` for the values of a `Quality`."""
    return {
        "nfe": work.PRESETS[preset],
        "model": model,
        "scheme": (scheme or "").strip() or None,
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
    if field.kind in (int, float) and field.default is not None:
        precision = 0 if field.kind is int else None
        bounds: Any = {"minimum": field.minimum, "maximum": field.maximum}
        return gr.Number(field.default, label=label, info=field.help, precision=precision, **bounds)
    if field.kind is Path:
        return file_input(f"{label}: {field.help}", height=90)
    if field.name == "kernel":
        return gr.Textbox(field.default, label=label, info=f"{KERNELS}; in pixels and degrees", max_lines=1)
    # also for numbers that may be left empty: gradio's number would be 0
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
        if field.name == "kernel":
            check_kernel(value)
        found[field.name] = number(field, value) if field.kind in (int, float) else value
    return found


def check_kernel(text: str) -> None:
    """Refuses the name of a file.

    Raises:
        RestoreError: it is not the name of a kernel.
    """
    from ..operators.kernels import is_named
    from ..tasks.kernels import AUTO

    if text != AUTO and not is_named(text):
        raise RestoreError(f"kernel {text}: give {KERNELS}")


def number(field: Field, value: Any) -> float:
    """The number in a control.

    Raises:
        RestoreError: it is none, or out of bounds.
    """
    name = field.name.replace("_", " ")
    try:
        found = int(value) if field.kind is int else float(value)
    except ValueError:
        raise RestoreError(f"{name} {value}: give a {'whole ' if field.kind is int else ''}number") from None
    if field.minimum is not None and not found >= field.minimum:
        raise RestoreError(f"{name} {value}: give {field.minimum:g} or more")
    if field.maximum is not None and not found <= field.maximum:
        raise RestoreError(f"{name} {value}: give {field.maximum:g} or less")
    return found


def progress_of(progress: gr.Progress) -> work.Progress:
    """The function that shows progress on the page."""

    def show(share: float, text: str) -> None:
        progress(share, desc=text)

    return show
