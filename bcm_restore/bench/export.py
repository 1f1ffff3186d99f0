"""Exports the suite to files, for other programs to restore."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import RestoreError
from ..files import atomic_path
from ..schemes import Progress
from ..simulation.degradations import Example
from .pictures import Suite

MANIFEST = "manifest.json"
VERSION = 1


def export(suite: Suite, folder: Path, overwrite: bool = False, progress: Progress | None = None) -> None:
    """Writes all samples as CASE/KIND/NAME.png, then `manifest.json`, which lists them.

    Kinds are "clean", "damaged" (for jpeg the JPEG files themselves) "mask" (white where pixels are unknown) and,
    for deblur, "kernel" (16 bits, its largest value white); for interpolate "clean" (both pictures side by side),
    "first" and "second". The same suite gives the same bytes.

    Args:
        suite: the suite to write.
        folder: output folder; created if missing.
        overwrite: accept a folder that is not empty. Other files in it are kept.
        progress: called with (samples written, total).

    Raises:
        RestoreError: the folder is not empty, a file cannot be written, or a picture cannot be read.
    """
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise RestoreError(f"{folder}: is not empty; give another folder, or --overwrite to write into it")
    head = {"version": VERSION, "task": suite.task, "seed": suite.seed, "data": suite.data()}
    # A manifest marks a complete export, so an old one is deleted before its files are overwritten.
    if folder.is_dir():
        (folder / MANIFEST).unlink(missing_ok=True)
    written: dict[str, list[dict[str, Any]]] = {case.name: [] for case in suite.cases}
    total, done = len(suite.cases) * len(suite.names), 0
    for case in suite.cases:
        for sample in suite.samples(case):
            files = {
                kind: _write(folder, f"{case.name}/{kind}/{sample.name}", content)
                for kind, content in _contents(sample.example).items()
            }
            written[case.name].append({"name": sample.name, "inputs": _plain(sample.example.inputs), "files": files})
            done += 1
            if progress:
                progress(done, total)
    text = json.dumps({**head, "cases": written}, indent=1) + "\n"
    _put(folder / MANIFEST, text.encode())


def _contents(example: Example) -> dict[str, np.ndarray | bytes]:
    """The files of a sample by kind: pixels, or the bytes of a JPEG file."""
    if example.damaged.ndim == 4:
        return {"clean": example.clean, "first": example.damaged[0], "second": example.damaged[1]}
    contents = {"clean": example.clean, "damaged": example.damaged if example.data is None else example.data}
    if "mask" in example.inputs:
        contents["mask"] = example.inputs["mask"].astype(np.uint8) * 255
    if isinstance(kernel := example.inputs.get("kernel"), np.ndarray):
        contents["kernel"] = np.rint(kernel / kernel.max() * 65535).astype(np.uint16)
    return contents


def _write(folder: Path, name: str, content: np.ndarray | bytes) -> dict[str, Any]:
    """Writes a file and returns its manifest entry."""
    path = f"{name}.{'jpg' if isinstance(content, bytes) else 'png'}"
    data = content if isinstance(content, bytes) else _png(content)
    _put(folder / path, data)
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    return {"path": path, "width": width, "height": height, "sha256": hashlib.sha256(data).hexdigest()}


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=4)  # half the time of the default, 6
    return file.getvalue()


def _put(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _plain(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs that are numbers or strings: the scale and its kernel."""
    return {name: value for name, value in inputs.items() if isinstance(value, int | str)}
