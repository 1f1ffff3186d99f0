"""Makes figures/web.png: the page of `bcm-restore web` in Chromium, with a mask on a scratched photograph.

Needs the extra `web` and playwright.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
TARGET = HERE / "figures" / "web.png"


def show(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#opener input[type=file]").first.set_input_files(HERE / "astronaut_scratched.png")
    page.wait_for_selector("#editor canvas")
    page.wait_for_timeout(3000)  # the canvas is drawn
    page.wait_for_selector("#editor canvas")
    page.wait_for_timeout(3000)  # the canvas is drawn
    with page.expect_file_chooser() as chooser:
        page.click("#load-mask")
    chooser.value.set_files(HERE / "astronaut_mask.png")
    page.get_by_text("astronaut_mask.png: loaded.").wait_for()
    page.wait_for_timeout(3000)


def main() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "bcm_restore", "web", "--port", "0", "--json"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        text = ""
        while not text.endswith("}\n"):
            text += server.stdout.readline()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 900, "height": 880})
            show(page, json.loads(text)["address"])
            page.screenshot(path=TARGET)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    Image.open(TARGET).convert("RGB").quantize(192).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
