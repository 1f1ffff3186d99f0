"""Results of other programs: how they are named, found and checked."""

import numpy as np
import pytest
import torch
from helpers.contestants import BOX, HALF, SHAPES, check, error_of, noise, sample
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from bcm_restore import images
from bcm_restore.bench.base import Case, Shape
from bcm_restore.bench.contestants.outputs import outputs, parse
from bcm_restore.errors import RestoreError

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
