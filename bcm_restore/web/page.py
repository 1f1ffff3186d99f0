"""The page: a tab for each task."""

from collections.abc import Sequence

import gradio as gr

from . import file_tab, inpaint_tab, interpolate_tab
from .controls import SHORT, Page
from .forms import Form

# fonts of the reader's system: none is loaded from elsewhere
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONOSPACE = ("ui-monospace", "Consolas", "monospace")

STYLE = """
.gradio-container { width: 100% !important; max-width: 1000px !important; margin: 0 auto !important; }
.done, .failed { white-space: pre-line; padding: 2px 4px; min-height: 1.5em; overflow-wrap: anywhere; }
.failed { color: #b3261e; }
.dark .failed { color: #ff8a80; }
@media (max-width: 640px) { .gradio-container { padding: 8px !important; } }
"""

# a picture that is pasted anywhere on the page is opened, as if it was chosen
PASTE = """() => document.addEventListener("paste", (event) => {
    const input = document.querySelector("#opener input[type=file]");
    if (!input || !document.querySelector("#opener").offsetParent || !event.clipboardData.files.length) return;
    input.files = event.clipboardData.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
})"""


def theme() -> gr.themes.Base:
    """The colours and fonts of the page."""
    return gr.themes.Default(primary_hue="rose", neutral_hue="slate", font=FONTS, font_mono=MONOSPACE)


def build(page: Page, forms: Sequence[Form]) -> gr.Blocks:
    """Builds the page.

    Args:
        page: what the tabs share.
        forms: of the tasks that restore files one by one.
    """
    with gr.Blocks(title="bcm-restore", analytics_enabled=False, fill_width=True) as blocks:
        gr.Markdown("## bcm-restore\nRestores damaged photographs. Pictures are deleted when this page is closed.")
        with gr.Tabs():
            with gr.Tab("Inpaint"):
                inpaint_tab.build(page)
            for form in forms:
                with gr.Tab(form.title):
                    file_tab.build(page, form)
            with gr.Tab("Interpolate"):
                interpolate_tab.build(page)

        def begin(request: gr.Request) -> None:
            page.session(request)  # so that the end of another session leaves its first upload alone

        def end(request: gr.Request) -> None:
            page.storage.end(str(request.session_hash))

        blocks.load(begin, None, None, **SHORT)
        blocks.unload(end)
    return blocks
