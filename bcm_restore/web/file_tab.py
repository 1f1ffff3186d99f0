"""A tab for a task that restores files one by one, with the files as they were uploaded."""

from pathlib import Path
from typing import Any

import gradio as gr

from ..batch.outcomes import Outcome, Status
from ..batch.settings import FORMATS
from ..errors import RestoreError
from . import work
from .controls import RUNNING, Page, chosen, control, file_input, given, preset, progress_of, quality
from .forms import Form
from .inpainting import Canvas


def build(page: Page, form: Form) -> None:
    """Builds the tab."""
    gr.Markdown(form.summary)
    files = file_input("Pictures", file_count="multiple", height=180, elem_id=f"{form.task}-files")
    controls = [control(field) for field in form.fields]
    with gr.Row(equal_height=True):
        radio = preset(visible=form.presets)
        with gr.Column(min_width=220):
            start = gr.Button("Restore", variant="primary", elem_id=f"{form.task}-restore")
            cancel = gr.Button("Cancel", elem_id=f"{form.task}-cancel")
    with gr.Accordion("Advanced", open=False):
        options = quality(page.options, radio)
        format = gr.Dropdown(list(FORMATS), value=FORMATS[0], label="Format of the results")
    status = gr.HTML(elem_id=f"{form.task}-status", container=False)
    with gr.Column(visible=False) as result:
        slider = gr.ImageSlider(
            type="filepath", label="Before and after", interactive=False, elem_id=f"{form.task}-slider"
        )
        download = gr.DownloadButton("Download", variant="primary", elem_id=f"{form.task}-download")

    @page.reported(status)
    def run(request: gr.Request, progress: gr.Progress = gr.Progress(), *arguments: Any) -> dict[Any, Any]:
        # gradio inserts the first two at their positions
        paths, preset, model, scheme, seed, format, *values = arguments
        session = page.session(request)
        sources = page.storage.claim(session, paths)
        if not sources:
            raise RestoreError("no picture is open: open one first")
        inputs = given(page, session, form.fields, values)
        pixels = [work.declared_pixels(path) for path in sources]
        reporter = work.Reporter(progress_of(progress), session.begin(), pixels)
        asked = chosen(page.options, preset, model, scheme, seed) | {"format": format} | inputs
        with work.results(session.folder) as folder:
            output = folder / "restored"
            output.mkdir()  # else the name of a file
            outcomes = work.restored(form.task, sources, output, reporter, **asked)
            if len(outcomes) == 1:
                work.require_one(outcomes[0])
        made = [Path(outcome.output) for outcome in outcomes if isinstance(outcome.output, str)]
        shown = _comparison(outcomes, folder, page.options.max_pixels)
        failed = any(outcome.status is Status.FAILED for outcome in outcomes)
        return {
            status: page.lines(work.lines(outcomes, reporter.notes), failed),
            result: gr.update(visible=bool(made)),
            slider: gr.update(value=shown, visible=shown is not None),
            download: gr.update(value=str(work.packed(made, folder, form.task)) if made else None),
        }

    started = start.click(
        run,
        [files, *options.inputs, format, *controls],
        [status, result, slider, download],
        show_progress_on=[status],
        **RUNNING,
        api_name=form.task.replace("-", "_"),
    )
    page.cancel(status, cancel, started)


def _comparison(outcomes: list[Outcome], folder: Path, max_pixels: int) -> tuple[str, str] | None:
    """Previews of the first restored picture and its result."""
    for outcome in outcomes:
        if outcome.status is Status.RESTORED and isinstance(outcome.input, str) and isinstance(outcome.output, str):
            sides = []
            for name, path in (("before", outcome.input), ("after", outcome.output)):
                (folder / name).mkdir()
                sides.append(str(Canvas(Path(path), folder / name, max_pixels).preview()))
            return sides[0], sides[1]
    return None
