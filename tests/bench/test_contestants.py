"""Contestants without a model: classical methods, and results of other programs."""

import pickle
import zipfile

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from bcm_restore import images
from bcm_restore.bench.base import Case, Sample, Shape
from bcm_restore.bench.contestants import denoisers, enlargers
from bcm_restore.bench.contestants.classical import classical
from bcm_restore.bench.contestants.denoisers import level
from bcm_restore.bench.contestants.outputs import outputs, parse
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import psnr
from bcm_restore.simulation.degradations import Example, compressed, downscaled, masked, noisy

BOX = Case("inpaint", "box", masked(lambda rng, size: np.ones(size, bool)))
HALF = Case("inpaint", "half", BOX.degrade)
SHAPES = [Shape("b", (6, 9)), Shape("a", (6, 9)), Shape("c", (6, 9))]


def noise(seed, height=6, width=9):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def sample(name, picture):
    return Sample(name, Example(picture, picture))


def error_of(function, *arguments):
    """The message of the RestoreError that is raised."""
    with pytest.raises(RestoreError) as caught:
        function(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# Classical methods


def method(task, name):
    return next(contestant for contestant in classical(task) if contestant.name == name)


def result(contestant, case, example):
    return contestant.restore(case, Sample("picture", example))


def damaged(picture):
    """Two holes: one inside, one at the edge."""
    mask = np.zeros(picture.shape[:2], bool)
    mask[8:16, 10:15] = mask[30:34, 36:] = True
    return masked(lambda rng, size: mask)(picture, np.random.default_rng(0))


def test_denoisers_get_the_true_or_the_measured_level(monkeypatch):
    """Each of them gains on the noisy picture; without noise, all return the picture itself or nearly so."""
    picture = np.ascontiguousarray(skimage.data.astronaut()[:64, 160:224])
    example = noisy(25)(picture, np.random.default_rng(0))
    assert level(example) == 25
    assert level(Example(example.damaged, picture)) == pytest.approx(25, rel=0.15)
    case = Case("denoise", "sigma-25", noisy(25))
    found = classical("denoise")
    assert [one.name for one in found][:2] == ["the noisy picture", "non-local means"]
    for contestant in found[1:]:
        restored = result(contestant, case, example)
        assert restored.dtype == np.uint8
        assert psnr(restored, picture) > psnr(example.damaged, picture) + 3, contestant.name
    monkeypatch.setattr(denoisers, "find_spec", lambda name: None)
    assert [one.name for one in classical("denoise")] == ["the noisy picture", "non-local means"]


def test_methods_of_each_task(monkeypatch):
    monkeypatch.setattr(enlargers, "find_spec", lambda name: None)
    names = {task: [c.name for c in classical(task)] for task in ("inpaint", "jpeg", "super-resolve", "interpolate")}
    assert names == {
        "inpaint": ["Telea", "Navier-Stokes", "biharmonic"],
        "jpeg": ["the JPEG itself"],
        "super-resolve": ["bicubic", "Lanczos"],
        "interpolate": ["cross-fade"],
    }
    assert [c.name for c in classical("colorize")] == ["the grey picture itself"]
    assert [c.name for c in classical("deblur")] == ["the blurred picture", "Wiener", "Richardson-Lucy, 30 iterations"]
    assert [c.name for c in classical("denoise")][:2] == ["the noisy picture", "non-local means"]  # others if installed
    for task, found in names.items():
        for name in found:
            contestant = method(task, name)
            assert (contestant.nfe, contestant.family, contestant.measured) == (0, name, True)
            assert contestant.identity() == {"name": name}
            assert [contestant.suits(Case(other, "x", BOX.degrade)) for other in names] == [o == task for o in names]


@pytest.mark.parametrize(("name", "flag"), [("Telea", cv2.INPAINT_TELEA), ("Navier-Stokes", cv2.INPAINT_NS)])
def test_opencv_fills_only_the_holes(name, flag, face):
    example = damaged(face)
    filled = result(method("inpaint", name), BOX, example)
    hole = example.where
    assert np.array_equal(filled[~hole], face[~hole])
    channels = [cv2.inpaint(np.ascontiguousarray(example.damaged[..., n]), np.uint8(hole), 3, flag) for n in range(3)]
    assert np.array_equal(filled, np.stack(channels, -1))
    grey = np.full((20, 20, 3), 93, np.uint8)
    example = masked(lambda rng, size: np.pad(np.ones((6, 6), bool), 7))(grey, np.random.default_rng(0))
    # OpenCV's Telea spreads a constant only nearly
    np.testing.assert_allclose(result(method("inpaint", name), BOX, example), grey, atol=3 if name == "Telea" else 0)


def test_the_opencv_methods_differ(face):
    telea, navier_stokes = (result(method("inpaint", name), BOX, damaged(face)) for name in ("Telea", "Navier-Stokes"))
    assert not np.array_equal(telea, navier_stokes)


def test_biharmonic_solves_its_equation():
    """Compares with a dense solution: the Laplacian of the Laplacian vanishes in the hole."""
    height, width = 14, 16
    rows, columns = np.mgrid[:height, :width]
    plane = 60 + 4 * rows + 5 * columns + 8 * np.sin(rows) * np.cos(columns)
    clean = np.stack([plane, plane[::-1], plane[:, ::-1]], -1).astype(np.uint8)
    mask = np.zeros((height, width), bool)
    mask[5:9, 6:11] = True
    number = np.arange(height * width).reshape(height, width)
    laplacian = np.zeros((height * width,) * 2)
    for a, b in ((number[1:], number[:-1]), (number[:, 1:], number[:, :-1])):
        for one, other in ((a.ravel(), b.ravel()), (b.ravel(), a.ravel())):
            np.add.at(laplacian, (one, other), 1)
            np.add.at(laplacian, (one, one), -1)
    both, hole = laplacian @ laplacian, mask.ravel()
    known = clean.reshape(-1, 3)[~hole].astype(float)
    solved = np.linalg.solve(both[np.ix_(hole, hole)], -both[np.ix_(hole, ~hole)] @ known)
    assert solved.min() > known.min()
    assert solved.max() < known.max()
    example = masked(lambda rng, size: mask)(clean, np.random.default_rng(0))
    filled = result(method("inpaint", "biharmonic"), BOX, example)
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~mask], clean[~mask])
    np.testing.assert_allclose(filled[mask], solved, atol=0.501)


def test_the_jpeg_itself(face):
    example = compressed(10)(face, np.random.default_rng(0))
    kept = result(method("jpeg", "the JPEG itself"), Case("jpeg", "q", compressed(10)), example)
    assert np.array_equal(kept, example.damaged)


def keys(x):
    """Keys' cubic, a = -1/2."""
    x = np.abs(x)
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))


def lanczos(x):
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


@pytest.mark.parametrize(("name", "kernel"), [("bicubic", keys), ("Lanczos", lanczos)])
def test_upsampling_is_a_convolution(name, kernel, face):
    def enlarging(small, scale):
        centres = (np.arange(small * scale) + 0.5) / scale
        weights = kernel(centres[:, None] - np.arange(small) - 0.5)
        return weights / weights.sum(1, keepdims=True)

    example = downscaled(4)(face[:47], np.random.default_rng(0))
    height, width = example.damaged.shape[:2]
    assert (height, width) == (11, 10)
    wanted = np.einsum("ih,hwc,jw->ijc", enlarging(height, 4), example.damaged.astype(float), enlarging(width, 4))
    enlarged = result(method("super-resolve", name), Case("super-resolve", "x4", downscaled(4)), example)
    assert enlarged.dtype == np.uint8
    assert enlarged.shape == (44, 40, 3)
    np.testing.assert_allclose(enlarged, wanted.clip(0, 255), atol=1.3)  # Pillow rounds after each direction


def test_trained_enlargers_beat_bicubic_on_bicubic_pictures(portrait):
    """Those that are installed; a wrong range, order of channels or offset would cost many dB."""
    clean = np.ascontiguousarray(portrait[:96, :96])
    for enlarger in enlargers.enlargers():
        scales = [
            scale for scale in (2, 3, 4, 8) if enlarger.suits(Case("super-resolve", f"x{scale}", downscaled(scale)))
        ]
        assert scales == {"SPAN": [2, 4], "DAT-light": [2, 3, 4], "Real-ESRGAN": [4]}[enlarger.name]
        assert not enlarger.suits(Case("super-resolve", "x4-pool", downscaled(4, "box")))
        case = Case("super-resolve", "x4", downscaled(4))
        example = case.degrade(clean, np.random.default_rng(0))
        bicubic = psnr(result(method("super-resolve", "bicubic"), case, example), example.clean)
        enlarged = result(enlarger, case, example)
        assert enlarged.dtype == np.uint8 and enlarged.shape == example.clean.shape
        gan = enlarger.name == "Real-ESRGAN"  # invents details
        assert psnr(enlarged, example.clean) > bicubic + (-4 if gan else 0.3), enlarger.name


def test_cross_fade():
    pair = np.zeros((2, 1, 2, 3), np.uint8)
    pair[0], pair[1, 0, 0], pair[1, 0, 1] = 200, 0, 255
    case = Case("interpolate", "pairs", BOX.degrade)
    strip = result(method("interpolate", "cross-fade"), case, Example(pair, pair[0], {"frames": 5}))
    assert strip.dtype == np.uint8
    assert strip.shape == (1, 10, 3)
    assert strip[0, :, 1].tolist() == [200, 200, 150, 214, 100, 228, 50, 241, 0, 255]
    assert np.array_equal(strip, np.repeat(strip[..., :1], 3, -1))
    ends = result(method("interpolate", "cross-fade"), case, Example(pair, pair[0], {"frames": 2}))
    assert np.array_equal(ends, np.concatenate(list(pair), axis=1))


# Specs

names = st.text(min_size=1).filter(lambda text: not set(text) & set("@=") and text.isprintable() and text.strip())


@given(names, st.none() | st.integers(1, 999_999_999))
def test_specs(name, nfe):
    spec = f"{name}=." if nfe is None else f"{name}@{nfe}=."
    assert parse(spec)[:2] == (name.strip(), nfe)
    contestant = outputs(spec, [BOX])
    assert (contestant.family, contestant.nfe, contestant.measured) == (name.strip(), nfe, False)
    assert contestant.name == (name.strip() if nfe is None else f"{name.strip()}, NFE {nfe}")


@given(st.text())
def test_malformed_specs_raise_a_one_line_error(text):
    assume("=" not in text or not text.split("=")[0].strip())
    assert "not of the form NAME=PATH or NAME@NFE=PATH" in error_of(parse, text)


@given(st.text(max_size=5), st.text(max_size=5), st.text(alphabet=st.characters(), max_size=9))
def test_any_text_is_a_spec_or_raises_a_one_line_error(left, nfe, right):
    try:
        name, number, path = parse(f"{left}@{nfe}={right}")
    except RestoreError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith("--outputs ")
    else:
        assert name
        assert number == int(nfe) > 0
        assert path.exists()


@pytest.mark.parametrize("nfe", ["", "0", "-1", "1.5", "four", "4@4", "٤", "+4", " 4", "9" * 5000])
def test_nfe_must_be_a_positive_integer(nfe):
    message = error_of(parse, f"i2sb@{nfe}=.")
    assert f"the NFE '{nfe}' is not a positive integer; write i2sb@4=." in message


def test_path_must_exist(tmp_path):
    message = error_of(outputs, f"i2sb@4={tmp_path}/results", [BOX])
    assert message == (
        f"--outputs i2sb@4={tmp_path}/results: {tmp_path}/results: no such file or directory; check the path"
    )


def test_paths_may_contain_separators_and_tilde(tmp_path, monkeypatch):
    folder = tmp_path / "a=b@c d"
    folder.mkdir()
    assert parse(f"x={folder}") == ("x", None, folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("x=~/a=b@c d") == ("x", None, folder)
    assert "check the path" in error_of(parse, "x=~no-such-user/a")


# The case of results


def test_a_single_case_uses_the_path_itself(tmp_path, save):
    save("a.png", noise(0))
    contestant = outputs(f"other={tmp_path}", [BOX])
    assert contestant.suits(BOX)
    assert not contestant.suits(HALF)
    contestant.check(BOX, [Shape("a", (6, 9))])
    assert np.array_equal(contestant.restore(BOX, sample("a", noise(1))), noise(0))


def test_each_case_uses_its_own_results(tmp_path, save):
    save("box/a.png", noise(0))
    torch.save({"arr": torch.zeros(1, 3, 6, 9)}, tmp_path / "half.pt")
    save("a.png", noise(2))  # ignored
    text = Case("inpaint", "text", BOX.degrade)
    contestant = outputs(f"other={tmp_path}", [BOX, HALF, text])
    assert [contestant.suits(case) for case in (BOX, HALF, text)] == [True, True, False]
    for case in (BOX, HALF):
        contestant.check(case, [Shape("a", (6, 9))])
    assert np.array_equal(contestant.restore(BOX, sample("a", noise(1))), noise(0))
    assert np.array_equal(contestant.restore(HALF, sample("a", noise(1))), np.full((6, 9, 3), 128))
    alone = outputs(f"other={tmp_path}", [BOX])
    alone.check(BOX, [Shape("a", (6, 9))])
    assert np.array_equal(alone.restore(BOX, sample("a", noise(1))), noise(0))


def test_several_cases_need_one_folder_each(tmp_path, save):
    file = save("a.png", noise(0))
    for path in (tmp_path, file):
        message = error_of(outputs, f"other={path}", [BOX, HALF])
        assert message.endswith("has no folder named after a case; put each case's results into one: box, half")


# Folders of pictures


def check(path, shapes=SHAPES, case=BOX, spec="other"):
    contestant = outputs(f"{spec}={path}", [case])
    contestant.check(case, shapes)
    return contestant


def test_pictures_are_found_by_name(tmp_path, save):
    save("b.tiff", noise(1))
    save("a.png", noise(0))
    save("c.WEBP", noise(2), lossless=True)
    (tmp_path / ".a.png").write_bytes(b"of a Mac")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "more.png").mkdir()
    contestant = check(tmp_path)
    for seed, name in enumerate("abc"):
        assert np.array_equal(contestant.restore(BOX, sample(name, noise(9))), noise(seed))


def test_names_with_dots(tmp_path, save):
    save("a.b.png", noise(1))
    contestant = check(tmp_path, [Shape("a.b", (6, 9))])
    assert np.array_equal(contestant.restore(BOX, sample("a.b", noise(9))), noise(1))


def test_all_kinds_of_pictures_become_rgb(tmp_path, save):
    rgb, grey = noise(0), noise(1)[..., 0]
    save("alpha.png", np.dstack([rgb, grey]))
    save("grey.png", grey)
    deep = grey.astype(np.uint16) * 257 + np.where(grey < 128, 100, -100).astype(np.int32)
    save("deep.png", deep.astype(np.uint16))
    contestant = check(tmp_path, [Shape(name, (6, 9)) for name in ("alpha", "grey", "deep")])
    restored = {name: contestant.restore(BOX, sample(name, rgb)) for name in ("alpha", "grey", "deep")}
    assert {picture.dtype for picture in restored.values()} == {np.dtype(np.uint8)}
    assert np.array_equal(restored["alpha"], rgb)
    assert np.array_equal(restored["grey"], np.stack([grey] * 3, -1))
    assert np.array_equal(restored["deep"], np.stack([grey] * 3, -1))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_of_the_upright_picture(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(0)).save(tmp_path / f"a{suffix}", exif=exif)
    upright = images.read(tmp_path / f"a{suffix}")
    assert upright.size == ((9, 6) if orientation >= 5 else (6, 9))
    contestant = check(tmp_path, [Shape("a", upright.size)])
    assert np.array_equal(contestant.restore(BOX, sample("a", noise(1))), upright.pixels)
    message = error_of(check, tmp_path, [Shape("a", (7, 7))])
    assert f"is {upright.size[1]}x{upright.size[0]}, not 7x7" in message


def test_sizes_come_from_headers(tmp_path, save):
    """A truncated picture passes the check and fails in `restore`."""
    whole = save("a.png", noise(0, 60, 90)).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    contestant = check(tmp_path, [Shape("a", (60, 90))])
    message = error_of(contestant.restore, BOX, sample("a", noise(0, 60, 90)))
    assert message.startswith(f"{tmp_path}/a.png: truncated or damaged")


def test_a_png_with_exif_after_its_pixels(tmp_path, save):
    data = save("a.png", noise(0)).read_bytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = save("turned.png", noise(0), exif=exif)
    start = turned.read_bytes().index(b"eXIf") - 4
    length = int.from_bytes(turned.read_bytes()[start : start + 4], "big")
    chunk = turned.read_bytes()[start : start + length + 12]
    turned.unlink()
    end = data.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(data[:end] + chunk + data[end:])
    assert images.read(tmp_path / "a.png").size == (9, 6)
    contestant = check(tmp_path, [Shape("a", (6, 9))])
    message = error_of(contestant.restore, BOX, sample("a", noise(0)))
    assert message == f"{tmp_path}/a.png: is rotated by EXIF that follows the pixels; save it upright"


@pytest.mark.parametrize(("found", "missing"), [("ac", "'b'"), ("a", "'b' (and 1 more)"), ("c", "'b' (and 1 more)")])
def test_missing_pictures(tmp_path, save, found, missing):
    for name in found:
        save(f"{name}.png", noise(0))
    message = error_of(check, tmp_path, SHAPES, BOX, "other@3")
    assert message == f"other, NFE 3: {tmp_path}: no result for {missing}; name each after its picture"


def test_unknown_pictures(tmp_path, save):
    for name in "abcd":
        save(f"{name}.png", noise(0))
    assert error_of(check, tmp_path) == f"other: {tmp_path}: 'd' belongs to no picture; remove it"
    save("A.png", noise(0))
    message = error_of(check, tmp_path)
    assert message == f"other: {tmp_path}: 'A' (and 1 more) belongs to no picture; remove it"


def test_other_sizes(tmp_path, save):
    save("a.png", noise(0, 9, 6))
    save("b.png", noise(0))
    save("c.png", noise(0, 6, 8))
    message = error_of(check, tmp_path)
    assert message == (
        f"other: {tmp_path}: the result for 'a' is 6x9, not 9x6 (and 1 more); restore the bench's pictures"
    )


def test_two_results_for_one_picture(tmp_path, save):
    for name in ("a.png", "b.png", "c.png", "b.jpg"):
        save(name, noise(0))
    message = error_of(check, tmp_path)
    assert message == f"other: {tmp_path}/b.png: 'b' has another result, b.jpg; remove one of them"


def test_files_that_are_not_pictures(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    assert error_of(check, tmp_path, SHAPES[1:2]).startswith(f"other: {tmp_path}/a.png: not a readable picture")
    (tmp_path / "a.png").rename(tmp_path / "a.txt")
    message = error_of(check, tmp_path)
    assert message == (
        f"other: {tmp_path}: contains neither pictures nor recon.pt or recon_*.pt; give the folder that does"
    )
    message = error_of(check, tmp_path / "a.txt")
    assert message == f"other: {tmp_path}/a.txt: neither a folder of pictures nor a .pt file; give one"


def test_palette(tmp_path, save):
    for seed, name in enumerate("abc"):
        save(f"Out_{name}.png", noise(seed))
        for other in ("GT", "Mask", "Process"):
            save(f"{other}_{name}.png", noise(7, 30, 30))
    for spec in ("palette@1000", "another"):
        contestant = check(tmp_path, spec=spec)
        for seed, name in enumerate("abc"):
            assert np.array_equal(contestant.restore(BOX, sample(name, noise(9))), noise(seed))
    (tmp_path / "Out_b.png").unlink()
    message = error_of(check, tmp_path, SHAPES, BOX, "palette@1000")
    assert message == f"palette, NFE 1000: {tmp_path}: no result for 'b'; name each after its picture"


# I2SB's files


def stack(*pictures):
    """The contents of I2SB's files: `arr` in [-1, 1] and `label_arr`."""
    arr = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    return {"arr": arr, "label_arr": torch.arange(len(pictures))}


def test_i2sb(tmp_path):
    torch.save(stack(noise(0), noise(1), noise(2)), tmp_path / "recon.pt")
    torch.save(stack(noise(3)), tmp_path / "recon_0_9.pt")  # like I2SB, prefer the whole file
    for path in (tmp_path, tmp_path / "recon.pt"):
        contestant = check(path, spec="i2sb@4")
        for seed, name in enumerate("abc"):  # in the order of the names, not of the shapes
            restored = contestant.restore(BOX, sample(name, noise(9)))
            assert restored.dtype == np.uint8
            assert restored.flags.c_contiguous
            assert np.array_equal(restored, noise(seed))


@pytest.mark.parametrize("name", ["recon_{}.pt", "recon_{}_12.pt"])
def test_parts_are_sorted_by_number(tmp_path, name):
    pictures = [f"{n:02}" for n in range(24)]
    for part in range(12):
        torch.save(stack(noise(2 * part), noise(2 * part + 1)), tmp_path / name.format(part))
    (tmp_path / "recon_old.pt").write_text("not a part")
    contestant = check(tmp_path, [Shape(picture, (6, 9)) for picture in pictures])
    for seed, picture in enumerate(pictures):
        assert np.array_equal(contestant.restore(BOX, sample(picture, noise(99))), noise(seed))


@pytest.mark.parametrize("parts", [["0_3", "2_3"], ["0_2", "0_3", "1_3"], ["1_3", "2_3", "3_3"], ["0", "1_3", "2_3"]])
def test_parts_of_several_runs(tmp_path, parts):
    for part in parts:
        torch.save(stack(noise(0)), tmp_path / f"recon_{part}.pt")
    message = error_of(check, tmp_path, SHAPES[: len(parts)])
    assert message == f"other: {tmp_path}: its recon_I_N.pt are not the N parts of one run; keep only those"


def test_values_are_rounded_and_clipped(tmp_path):
    values = torch.tensor([-1.5, -1, -1 + 0.9 / 255, -1 + 1.1 / 255, 0, 1 - 1.1 / 255, 1, 1.5])
    for dtype in (torch.float32, torch.float64):
        torch.save({"arr": values.to(dtype).expand(1, 3, 1, 8)}, tmp_path / "recon.pt")
        restored = check(tmp_path, [Shape("a", (1, 8))]).restore(BOX, sample("a", noise(0, 1, 8)))
        assert restored[0].tolist() == [[value] * 3 for value in (0, 0, 0, 1, 128, 254, 255, 255)]


def test_half_precision_and_the_old_format(tmp_path):
    half = stack(noise(0))["arr"].half()
    torch.save({"arr": half}, tmp_path / "recon.pt", _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(tmp_path / "recon.pt")
    restored = check(tmp_path, SHAPES[1:2]).restore(BOX, sample("a", noise(9)))
    wanted = np.rint((half[0].numpy().astype(np.float64) + 1) * 127.5).transpose(1, 2, 0)
    assert np.array_equal(restored, wanted)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_is_not_run(tmp_path):
    trap = tmp_path / "sprung"
    file = tmp_path / "recon.pt"

    def plain_pickle(content, path):
        path.write_bytes(pickle.dumps(content, protocol=2))

    for write in (torch.save, plain_pickle):
        write({"arr": stack(noise(0))["arr"] if write is torch.save else 0, "label_arr": Trap(trap)}, file)
        message = error_of(check, tmp_path)
        assert message.startswith(f"other: {file}: contains code, not only tensors (")
        assert "open)" in message
        assert message.endswith("), not loaded; get the file that I2SB's sample.py wrote")
        assert not trap.exists()
    file.write_bytes(pickle.dumps(Trap(trap)))
    assert error_of(check, tmp_path).startswith(f"other: {file}: ")
    assert not trap.exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("newer", [True, False])
def test_truncated_files(tmp_path, share, newer):
    file = tmp_path / "recon.pt"
    torch.save(stack(noise(0), noise(1), noise(2)), file, _use_new_zipfile_serialization=newer)
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    message = error_of(check, tmp_path)
    assert message == (
        f"other: {file}: not a torch.save file, or damaged, not loaded; get the file that I2SB's sample.py wrote"
    )


def test_a_web_page_is_not_a_stack(tmp_path):
    (tmp_path / "recon.pt").write_text("<html>Not found</html>")
    assert "recon.pt: not a torch.save file, or damaged, not loaded" in error_of(check, tmp_path)


@pytest.mark.parametrize("content", [{"label_arr": torch.zeros(3)}, torch.zeros(3, 3, 6, 9), {"arr": [1]}, [1], None])
def test_files_without_a_stack(tmp_path, content):
    torch.save(content, tmp_path / "recon.pt")
    message = error_of(check, tmp_path)
    assert message == f"other: {tmp_path}/recon.pt: has no tensor 'arr'; get the file that I2SB's sample.py wrote"


@pytest.mark.parametrize(
    ("arr", "kind"),
    [
        (torch.zeros(3, 6, 9), "float32 (3, 6, 9)"),
        (torch.zeros(3, 6, 9, 3), "float32 (3, 6, 9, 3)"),
        (torch.zeros(3, 3, 6, 0), "float32 (3, 3, 6, 0)"),
        (torch.zeros(0, 3, 6, 9), "float32 (0, 3, 6, 9)"),
        (torch.zeros(3, 3, 6, 9, dtype=torch.uint8), "uint8 (3, 3, 6, 9)"),
        (torch.zeros(3, 3, 6, 9).to_sparse(), "float32 (3, 3, 6, 9)"),
        (torch.zeros(3, 3, 6, 9, device="meta"), "float32 (3, 3, 6, 9)"),
    ],
)
def test_other_tensors(tmp_path, arr, kind):
    torch.save({"arr": arr}, tmp_path / "recon.pt")
    message = error_of(check, tmp_path)
    assert message == f"other: {tmp_path}/recon.pt: its 'arr' is {kind}, not floats (N, 3, H, W)"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (float("nan"), "NaN"),
        (255.0, "values from -1 to 255"),
        (-float("inf"), "values from -inf to -1"),
        (-4.5, "values from -4.5 to -1"),
    ],
)
def test_values_out_of_range(tmp_path, value, found):
    content = {"arr": torch.full((3, 3, 6, 9), -1.0)}
    content["arr"][1, 2, 3, 4] = value
    torch.save(content, tmp_path / "recon.pt")
    message = error_of(check, tmp_path)
    assert message == f"other: {tmp_path}/recon.pt: image 1 (counted from 0) has {found}; I2SB's are in [-1, 1]"


def test_wrong_counts_and_sizes(tmp_path):
    torch.save(stack(noise(0), noise(1)), tmp_path / "recon_0_1.pt")
    message = error_of(check, tmp_path)
    assert message == f"other: {tmp_path}: 2 results for 3 pictures; restore only those of the bench"
    torch.save(stack(noise(0), noise(1), noise(2)), tmp_path / "recon_0_1.pt")
    message = error_of(check, tmp_path, [Shape("b", (6, 9)), Shape("a", (6, 6)), Shape("c", (9, 6))])
    assert message == (
        f"other: {tmp_path}: the result for 'a' is 9x6, not 6x6 (and 1 more); restore the bench's pictures"
    )


# Identity


def test_identity_depends_on_the_results(tmp_path, save):
    for case in ("box", "half"):
        save(f"{case}/Out_a.png", noise(0))
        save(f"{case}/GT_a.png", noise(1))

    def identity(spec="palette@4", cases=(BOX, HALF)):
        return outputs(f"{spec}={tmp_path}", cases).identity()

    first = identity()
    assert (first["name"], first["nfe"]) == ("palette, NFE 4", 4)
    assert len(first["sha256"]) == 64
    assert identity() == first
    assert identity("palette") == {"name": "palette", "nfe": None, "sha256": first["sha256"]}
    save("half/GT_a.png", noise(2))
    assert identity() == first
    assert identity(cases=[BOX]) != first
    data = save("half/Out_a.png", noise(2)).read_bytes()
    second = identity()
    assert second != first
    (tmp_path / "half/Out_a.png").rename(tmp_path / "half/Out_b.png")
    assert identity() not in (first, second)
    (tmp_path / "half/Out_b.png").unlink()
    (tmp_path / "half/Out_a.png").write_bytes(data)
    assert identity() == second


def test_identity_changes_if_cases_are_swapped(tmp_path, save):
    save("box/a.png", noise(0))
    save("half/a.png", noise(1))
    first = outputs(f"x={tmp_path}", [BOX, HALF]).identity()
    save("box/a.png", noise(1))
    save("half/a.png", noise(0))
    assert outputs(f"x={tmp_path}", [BOX, HALF]).identity() != first


def test_files_are_read_once_for_the_identity(tmp_path, save):
    file = save("a.png", noise(0))
    contestant = outputs(f"x={tmp_path}", [BOX])
    first = contestant.identity()
    file.unlink()
    assert contestant.identity() == first
    assert "contains neither pictures" in error_of(outputs(f"x={tmp_path}", [BOX]).identity)
