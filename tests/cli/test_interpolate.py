"""The command that interpolates between two pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from bcm_restore import images


@pytest.fixture
def pair(save, face):
    return save("a.png", face), save("b.png", np.ascontiguousarray(face[:, ::-1]))


def test_frames_in_a_folder(cli, pair, tmp_path):
    result = cli("interpolate", *pair, "--frames", 4, "--nfe", 2, "--json", "--compare")
    folder = tmp_path / "a_to_b"
    names = [f"frame_{n:03}.png" for n in range(4)]
    assert sorted(path.name for path in folder.iterdir()) == names
    frames = [images.read(folder / name).pixels for name in names]
    assert np.array_equal(frames[0], images.read(pair[0]).pixels)
    assert np.array_equal(frames[3], images.read(pair[1]).pixels)
    assert not np.array_equal(frames[1], frames[2])
    [entry] = json.loads(result.stdout)["files"]
    assert entry["input"] == [str(path) for path in pair]
    assert entry["output"] == [str(folder / name) for name in names]
    assert (entry["status"], entry["nfe"], entry["size"]) == ("restored", 2, [40, 48])
    assert Image.open(tmp_path / "a_to_b_compare.png").size == (160, 48)


def test_default_is_nine_frames(cli, pair, tmp_path):
    cli("interpolate", *pair, "--nfe", 2, "-o", tmp_path / "there", "--format", "jpg", "--quality", 10)
    assert [path.name for path in sorted((tmp_path / "there").iterdir())][-1] == "frame_008.jpg"
    last = Image.open(tmp_path / "there" / "frame_008.jpg")
    assert (last.format, last.quantization[0][0]) == ("JPEG", 80)  # libjpeg's first step at quality 10


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animation(cli, pair, tmp_path, suffix):
    cli("interpolate", *pair, "--frames", 3, "--nfe", 2, "--fps", 5, "-o", tmp_path / f"out.{suffix}")
    animation = Image.open(tmp_path / f"out.{suffix}")
    assert (animation.format, animation.n_frames, animation.size) == (suffix.upper(), 3, (40, 48))
    animation.seek(1)
    animation.load()
    assert animation.info["duration"] == 200


def test_strip(cli, pair, tmp_path):
    cli("interpolate", *pair, "--frames", 3, "--nfe", 2, "-o", tmp_path / "out.png")
    strip = np.asarray(Image.open(tmp_path / "out.png"))
    assert strip.shape == (48, 120, 3)
    assert np.array_equal(strip[:, :40], images.read(pair[0]).pixels)
    assert np.array_equal(strip[:, 80:], images.read(pair[1]).pixels)


def test_other_sizes(cli, pair, save, face, tmp_path):
    small = save("small.png", face[:20, :30])
    line = cli.refuses(tmp_path, "interpolate", pair[0], small, "--nfe", 2)
    assert "--resize" in line
    assert "40x48" in line
    assert "30x20" in line
    cli("interpolate", pair[0], small, "--nfe", 2, "--resize", "--frames", 2, "-o", tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").size == (80, 48)


def test_other_kinds(cli, save, face, tmp_path):
    grey = save("grey.png", face[:, :, 1].astype(np.uint16) * 257)
    clear = save("clear.png", np.dstack([face, np.full((48, 40), 100, np.uint8)]))
    cli("interpolate", grey, clear, "--nfe", 2, "--frames", 3)
    middle = images.read(tmp_path / "grey_to_clear" / "frame_001.png")
    assert middle.pixels.shape == (48, 40, 3)
    assert middle.pixels.dtype == np.uint16
    assert (middle.alpha == round((65535 + 100 * 257) / 2)).all()
    cli("interpolate", clear, grey, "--nfe", 2, "--frames", 3)
    back = images.read(tmp_path / "clear_to_grey" / "frame_002.png")
    assert np.array_equal(back.pixels[:, :, 0], face[:, :, 1].astype(np.uint16) * 257)
    first = images.read(tmp_path / "grey_to_clear" / "frame_000.png")
    assert np.array_equal(first.pixels[:, :, 2], face[:, :, 1].astype(np.uint16) * 257)


def test_outputs_that_exist(cli, pair, tmp_path):
    cli("interpolate", *pair, "--frames", 3, "--nfe", 2)
    assert "(and 1 more) exist" in cli.refuses(tmp_path, "interpolate", *pair, "--frames", 2)
    assert "frame_002.png" in cli.refuses(tmp_path, "interpolate", *pair, "--frames", 2, "--overwrite")
    cli("interpolate", *pair, "--frames", 3, "--nfe", 2, "--overwrite")


def test_invalid_output_names(cli, pair, tmp_path):
    assert "suffix" in cli.refuses(tmp_path, "interpolate", *pair, "-o", tmp_path / "film.mp4")
    assert "disagree" in cli.refuses(tmp_path, "interpolate", *pair, "-o", tmp_path / "row.jpg", "--format", "png")
