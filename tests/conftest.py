"""Fixtures of the command line's tests: small pictures and a command that runs in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from helpers.runs import contents
from PIL import Image

import bcm_restore


class Cli:
    """Runs `bcm-restore` in this process, and checks the files that it leaves."""

    def __call__(self, *arguments: Any, status: int = 0) -> Any:
        # the tests of a device also run without the command line's packages
        from typer.testing import CliRunner

        from bcm_restore.cli import app

        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == status, f"status {result.exit_code}: {result.stdout}\n{result.stderr}"
        return result

    def refuses(self, folder: Path, *arguments: Any) -> str:
        """The one line of an error with status 2 that leaves every file of `folder` as it was, and no new one."""
        before = contents(folder)
        result = self(*arguments, status=2)
        assert contents(folder) == before
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("error: ")
        assert "Traceback" not in result.stderr
        return lines[0]


torch.set_num_threads(1)  # more threads only slow small pictures down


@pytest.fixture(scope="session")
def model():
    return bcm_restore.load_model(device="cpu")


@pytest.fixture(scope="session")
def portrait():
    return np.ascontiguousarray(skimage.data.astronaut()[:128, 160:288])


@pytest.fixture
def cli() -> Cli:
    return Cli()


@pytest.fixture(scope="session")
def face() -> np.ndarray:
    """A photograph (48, 40, 3) without values near black or white, so that no restored pixel is clipped."""
    astronaut = Image.fromarray(skimage.data.astronaut()[0:240, 120:320])
    small = np.asarray(astronaut.resize((40, 48), Image.Resampling.BICUBIC))
    return (40 + small * (175 / 255)).astype(np.uint8)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Saves an array or a PIL image under a name below the test's folder."""

    def save_as(name: str, picture: Any, **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(path, **options)
        return path

    return save_as


@pytest.fixture
def hole() -> np.ndarray:
    """A mask for `face`: a white box and a white line."""
    mask = np.zeros((48, 40), np.uint8)
    mask[10:18, 12:22] = 255
    mask[30, 5:35] = 255
    return mask


@pytest.fixture
def photo(save, face):
    return save("photo.png", face)


@pytest.fixture
def mask(save, hole):
    return save("masks/mask.png", hole)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first: one that starts last keeps a single process busy while the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)  # a hook of pytest-xdist, which may be missing
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A process that is done takes tests from another one; `--dist` still chooses otherwise."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None
