"""The tab for inpainting: open a picture, paint, restore, compare, go on."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from . import work
from .controls import RUNNING, SHORT, Page, as_uploaded, chosen, preset, progress_of, quality
from .inpainting import COLOUR, Canvas

PAINT = "Paint over what is to be filled, then press Restore. All other pixels stay identical."
BRUSH = f"rgb{COLOUR}".replace(" ", "")


class _Tab:
    """The components of the tab, and what its events do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        with gr.Column() as self.opening:
            self.opener = as_uploaded(
                gr.Image(
                    sources=["upload", "clipboard"],
                    label="Picture",
                    height=380,
                    elem_id="opener",
                    placeholder="Drop a picture here, click to open one, or paste it (Ctrl+V)",
                )
            )
        with gr.Column(visible=False) as self.work:
            self.editor = gr.ImageEditor(
                type="numpy",
                sources=(),
                transforms=(),
                layers=False,
                canvas_size=(1, 1),  # gradio centres layers in this one, where it is larger than the picture
                format="png",
                brush=gr.Brush(default_size=12, colors=[BRUSH], default_color=BRUSH, color_mode="fixed"),
                eraser=gr.Eraser(default_size=12),
                buttons=["fullscreen"],
                show_label=False,
                height=560,
                elem_id="editor",
            )
            with gr.Row():
                self.mask = as_uploaded(
                    gr.UploadButton("Load a mask", file_types=["image"], size="sm", elem_id="load-mask")
                )
                self.undo = gr.Button("Undo the last step", size="sm", interactive=False)
                self.close = gr.Button("Another picture", size="sm")
            with gr.Row(equal_height=True):
                radio = preset()
                with gr.Column(min_width=220):
                    self.restore = gr.Button("Restore", variant="primary", elem_id="restore")
                    self.cancel = gr.Button("Cancel", elem_id="cancel")
            with gr.Accordion("Advanced", open=False):
                self.quality = quality(page.options, radio)
                self.fit = gr.Checkbox(False, label="Resize a mask of another size (--fit-mask)")
        self.status = gr.HTML(elem_id="inpaint-status", container=False)
        with gr.Column(visible=False) as self.result:
            self.slider = gr.ImageSlider(
                type="filepath", label="Before and after", interactive=False, buttons=["fullscreen"], elem_id="slider"
            )
            self.download = gr.DownloadButton("Download", variant="primary", elem_id="download")
        self._connect()

    def _connect(self) -> None:
        columns = [self.opening, self.work, self.result]
        updated = [*columns, self.editor, self.slider, self.download, self.undo, self.status]
        guarded = self.page.reported(self.status)
        self.opener.upload(guarded(self.open), [self.opener], updated, **SHORT, api_name="open")
        mask = [self.mask, self.fit, self.editor]
        self.mask.upload(guarded(self.load_mask), mask, updated, **SHORT, api_name="load_mask")
        self.undo.click(guarded(self.go_back), None, updated, **SHORT)
        self.close.click(guarded(self.leave), None, updated, **SHORT)
        # in the browser alone: once the server updates the opener, gradio replaces it, without `as_uploaded`
        self.close.click(None, None, [self.opener], js="() => null")
        run = self.restore.click(
            guarded(self.run),
            [self.editor, *self.quality.inputs],
            updated,
            show_progress_on=[self.status],
            **RUNNING,
            api_name="inpaint",
        )
        self.page.cancel(self.status, self.cancel, run)

    def open(self, paths: list[str], request: gr.Request) -> dict[Any, Any]:
        """Opens an uploaded picture."""
        session = self.page.session(request)
        [source] = self.page.storage.claim(session, paths)
        canvas = Canvas(source, session.new_folder(), self.page.options.max_pixels)
        shown = self._editing(canvas)
        session.canvas = canvas
        height, width = canvas.size
        return shown | {
            self.opening: gr.update(visible=False),
            self.work: gr.update(visible=True),
            self.result: gr.update(visible=False),
            self.status: self.page.lines([f"{source.name}, {width}x{height}. {PAINT}"]),
        }

    def load_mask(
        self, paths: list[str], fit: bool, drawn: dict[str, Any] | None, request: gr.Request
    ) -> dict[Any, Any]:
        """Adds the mask of a file to the strokes."""
        session = self.page.session(request)
        canvas = _opened(session.canvas)
        [file] = self.page.storage.claim(session, paths)
        layers = _layers(drawn)
        canvas.load_mask(file, fit, layers)
        text = f"{file.name}: loaded. Erase or paint to change it, then press Restore."
        return self._editing(canvas, layers) | {self.status: self.page.lines([text])}

    def run(
        self,
        drawn: dict[str, Any] | None,
        preset: str,
        model: str,
        scheme: str | None,
        seed: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),
    ) -> dict[Any, Any]:
        """Restores what is painted over."""
        session = self.page.session(request)
        canvas = _opened(session.canvas)
        before, hole = canvas.preview(), canvas.hole(_layers(drawn))
        reporter = work.Reporter(progress_of(progress), session.begin(), [hole.size])
        outcome = canvas.restore(hole, reporter, **chosen(self.page.options, preset, model, scheme, seed))
        return self._editing(canvas) | {
            self.result: gr.update(visible=True),
            self.slider: (str(before), str(canvas.preview())),
            self.download: gr.update(value=str(canvas.download())),
            self.status: self.page.lines(work.lines([outcome], reporter.notes)),
        }

    def go_back(self, request: gr.Request) -> dict[Any, Any]:
        """Undoes the last step."""
        canvas = _opened(self.page.session(request).canvas)
        canvas.undo()
        return self._editing(canvas) | {
            self.result: gr.update(visible=False),
            self.status: self.page.lines([PAINT]),
        }

    def leave(self, request: gr.Request) -> dict[Any, Any]:
        """Closes the picture."""
        session = self.page.session(request)
        session.stop.set()
        session.canvas = None
        return {
            self.opening: gr.update(visible=True),
            self.work: gr.update(visible=False),
            self.result: gr.update(visible=False),
            self.status: "",
        }

    def _editing(self, canvas: Canvas, layers: Sequence[Any] = ()) -> dict[Any, Any]:
        strokes = [str(path) for path in canvas.strokes(layers)]
        return {
            self.editor: {"background": str(canvas.preview()), "layers": strokes, "composite": None},
            self.undo: gr.update(interactive=canvas.undoable),
        }


def _layers(drawn: dict[str, Any] | None) -> list[Any]:
    """The strokes of the editor, (h, w, 4) each."""
    return (drawn or {}).get("layers") or []


def _opened(canvas: Canvas | None) -> Canvas:
    from ..errors import RestoreError

    if canvas is None:
        raise RestoreError("no picture is open: open one first")
    return canvas


def build(page: Page) -> None:
    """Builds the tab."""
    _Tab(page)
