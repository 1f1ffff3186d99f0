"""The tab for interpolation between two pictures."""

from pathlib import Path
from typing import Any

import gradio as gr

from ..batch.interpolation import interpolate
from ..batch.settings import Settings
from ..errors import RestoreError
from . import work
from .controls import RUNNING, Page, chosen, file_input, preset, progress_of, quality

RESULTS = {"GIF": ".gif", "WebP": ".webp", "All frames in a row": ".png", "Frames in a zip": ""}


def build(page: Page) -> None:
    """Builds the tab."""
    gr.Markdown("Interpolate between two pictures.")
    with gr.Row():
        first = file_input("First picture", height=140, elem_id="interpolate-first")
        last = file_input("Last picture", height=140, elem_id="interpolate-last")
    with gr.Row():
        frames = gr.Slider(2, 60, 9, step=1, label="Frames, including both")
        fps = gr.Slider(1, 50, 10, step=1, label="Frames per second")
    with gr.Row(equal_height=True):
        radio = preset()
        with gr.Column(min_width=220):
            start = gr.Button("Interpolate", variant="primary", elem_id="interpolate-restore")
            cancel = gr.Button("Cancel")
    kind = gr.Radio(list(RESULTS), value="GIF", label="Result")
    resize = gr.Checkbox(False, label="Resize the last picture to the size of the first (--resize)")
    with gr.Accordion("Advanced", open=False):
        options = quality(page.options, radio)
    status = gr.HTML(elem_id="interpolate-status", container=False)
    with gr.Column(visible=False) as result:
        shown = gr.Image(type="filepath", label="Result", interactive=False, buttons=[], elem_id="interpolate-result")
        download = gr.DownloadButton("Download", variant="primary", elem_id="interpolate-download")

    @page.reported(status)
    def run(
        first: list[str],
        last: list[str],
        frames: float,
        fps: float,
        kind: str,
        resize: bool,
        preset: str,
        model: str,
        scheme: str | None,
        seed: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),
    ) -> dict[Any, Any]:
        session = page.session(request)
        ends = page.storage.claim(session, [*first, *last])
        if len(ends) != 2:
            raise RestoreError("two pictures are needed: open the first and the last")
        a, b = ends
        reporter = work.Reporter(progress_of(progress), session.begin(), [work.declared_pixels(a) * int(frames)])
        with work.results(session.folder) as folder, work.ALONE:
            output = folder / f"{a.stem}_to_{b.stem}{RESULTS[kind]}"
            asked = Settings(**chosen(page.options, preset, model, scheme, seed), output=str(output))
            reporter.waiting()
            outcome = interpolate(a, b, asked, reporter, frames=int(frames), fps=fps, resize=resize)
        several = isinstance(outcome.output, list)
        made = [Path(path) for path in ([outcome.output] if isinstance(outcome.output, str) else outcome.output or [])]
        return {
            status: page.lines(work.lines([outcome], reporter.notes)),
            result: gr.update(visible=True),
            shown: gr.update(value=None if several else str(made[0]), visible=not several),
            download: gr.update(value=str(work.packed(made, folder, output.stem))),
        }

    started = start.click(
        run,
        [first, last, frames, fps, kind, resize, *options.inputs],
        [status, result, shown, download],
        show_progress_on=[status],
        **RUNNING,
        api_name="interpolate",
    )
    page.cancel(status, cancel, started)
