import io
import tarfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bcm_restore.errors import RestoreError
from bcm_restore.train import data as data_module
from bcm_restore.train.data import Crops, Picture, centres, read_sources, split

CPU = torch.device("cpu")


def random_pixels(height=20, width=24, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def coordinate_picture(n, height, width):
    """A picture whose channels are row, column and the picture's number."""
    rows, columns = np.mgrid[:height, :width]
    return Picture(f"{n}.png", "folder", np.stack([rows, columns, np.full_like(rows, n)], -1).astype(np.uint8))


def sampled(pictures, side, count=400, seed=0, half=0.0, labels=False):
    crops = Crops(pictures, side, half=half, device=CPU, labels=labels)
    return crops(count, torch.Generator().manual_seed(seed))


def values(crops):
    """Crops in [-1, 1] as 8-bit values (N, side, side, 3), fractional where averaged."""
    return ((crops.double() + 1) * 127.5).permute(0, 2, 3, 1).numpy()


def orientations(piece):
    """The eight orientations of a square (side, side, 3)."""
    return [np.rot90(each, turns) for each in (piece, piece[:, ::-1]) for turns in range(4)]


def upright(piece):
    """A crop in the picture's orientation: rows count down, columns to the right."""
    return next(
        each for each in orientations(piece) if each[-1, 0, 0] > each[0, 0, 0] and each[0, -1, 1] > each[0, 0, 1]
    )


def packed(path, mode, members):
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_folders_are_read_recursively_with_their_shards_sorted_by_name(save, tmp_path):
    pictures = {
        name: random_pixels(seed=n) for n, name in enumerate(["b.png", "sub/deep/a.tiff", "sub/Z.BMP", "a.webp"])
    }
    for name, pixels in pictures.items():
        save(f"data/{name}", pixels, **({"lossless": True} if name.endswith("webp") else {}))
    (tmp_path / "data" / "notes.txt").write_text("not a picture")
    (tmp_path / "data" / "._b.png").write_bytes(b"left by an archiver")
    shard = random_pixels(seed=9)
    packed(tmp_path / "data" / "sub" / "more.tar", "w", {"cats/x.png": png(shard), "cats/x.json": b"{}"})
    source = read_sources([tmp_path / "data"], 16)
    assert source.skipped == []
    found = {picture.name.removeprefix(f"{tmp_path}/data/"): picture for picture in source.pictures}
    assert set(found) == {*pictures, "more.tar/cats/x.png"}
    assert [p.name for p in source.pictures] == sorted(p.name for p in source.pictures)
    for name, pixels in (pictures | {"more.tar/cats/x.png": shard}).items():
        np.testing.assert_array_equal(found[name].pixels, pixels)
    assert found["sub/deep/a.tiff"].folder == "deep"
    assert found["more.tar/cats/x.png"].folder == "cats"


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("A.TGZ", "w:gz")])
def test_shards_are_read(tmp_path, name, mode):
    members = {f"{n}.png": random_pixels(seed=n) for n in range(3)}
    path = packed(tmp_path / name, mode, {key: png(pixels) for key, pixels in members.items()})
    pictures = read_sources([path], 8).pictures
    assert [p.name for p in pictures] == [f"{name}/{key}" for key in members]
    for picture, pixels in zip(pictures, members.values(), strict=True):
        np.testing.assert_array_equal(picture.pixels, pixels)


def test_the_order_does_not_depend_on_the_chunk_size(tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "CHUNK", 3)
    sides = [30, 9, 12, 20, 8, 25, 11, 10]
    members = {f"{n}.png": png(random_pixels(side, side, n)) for n, side in enumerate(sides)} | {"5.png": b"damaged"}
    source = read_sources([packed(tmp_path / "a.tar", "w", members), packed(tmp_path / "b.tar", "w", members)], 9)
    expected = [f"{shard}.tar/{n}.png" for shard in "ab" for n in range(8) if n not in (4, 5)]
    assert [p.name for p in source.pictures] == expected
    assert [p.pixels.shape[0] for p in source.pictures] == [30, 9, 12, 20, 11, 10] * 2
    assert [line.partition(":")[0] for line in source.skipped] == [
        f"{shard}.tar/{n}.png" for shard in "ab" for n in (4, 5)
    ]


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_damaged_shards_raise_a_one_line_error(tmp_path, mode):
    path = packed(tmp_path / "a.tar", mode, {f"{n}.png": png(random_pixels(64, 64, n)) for n in range(5)})
    data, lines = path.read_bytes(), []
    for at in range(0, len(data), max(len(data) // 50, 1)):
        path.write_bytes(data[:at] + bytes(20) + data[at + 20 :])
        try:
            read_sources([path], 8)
        except RestoreError as error:
            lines.append(str(error))
    assert all("a.tar" in line and line.isprintable() for line in lines)
    assert any("not a readable tar file" in line for line in lines)


def test_links_in_a_shard_are_skipped(tmp_path):
    path = packed(tmp_path / "a.tar", "w", {"a.png": png(random_pixels())})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "nowhere.png"
        archive.addfile(link)
    assert [p.name for p in read_sources([path], 8).pictures] == ["a.tar/a.png"]


def test_unusable_files_are_named_and_the_rest_is_read(save, tmp_path):
    save("data/good.png", random_pixels())
    save("data/flat.png", random_pixels(15, 90))
    (tmp_path / "data" / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    (tmp_path / "data" / "cut.png").write_bytes(png(random_pixels())[:300])
    source = read_sources([tmp_path / "data"], 16)
    assert [p.name for p in source.pictures] == [f"{tmp_path}/data/good.png"]
    broken, cut, flat = source.skipped
    assert broken.startswith(f"{tmp_path}/data/broken.jpg: not a readable picture")
    assert cut.startswith(f"{tmp_path}/data/cut.png: not a readable picture")
    assert flat == f"{tmp_path}/data/flat.png: 90x15 is smaller than the crop, 16"


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=40), st.integers(0, 400), st.sampled_from(["PNG", "JPEG", "BMP", "WEBP"]))
def test_a_damaged_picture_does_not_stop_the_reading(tmp_path_factory, junk, at, kind):
    folder = tmp_path_factory.mktemp("damaged")
    file = io.BytesIO()
    Image.fromarray(random_pixels()).save(file, kind)
    data = file.getvalue()
    (folder / "a.png").write_bytes(data[:at] + junk + data[at + len(junk) :])
    (folder / "b.png").write_bytes(png(random_pixels()))
    source = read_sources([folder], 8)
    assert len(source.pictures) + len(source.skipped) == 2
    assert source.pictures[-1].name == f"{folder}/b.png"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_every_mode_becomes_rgb(save, mode):
    image = Image.fromarray(random_pixels()).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_sources([save("a.png", image)], 8).pictures[0].pixels, expected)


def test_16_bit_pictures_become_8_bit(save):
    samples = np.random.default_rng(0).integers(0, 65536, (20, 20)).astype(np.uint16)
    pixels = read_sources([save("a.png", samples)], 8).pictures[0].pixels
    assert pixels.shape == (20, 20, 3) and pixels.dtype == np.uint8
    assert abs(pixels.astype(float) - samples[..., None] / 257).max() <= 1


def test_paths_without_pictures_raise_an_error_with_advice(save, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.tar").write_bytes(b"no tar file at all" * 100)
    small = save("small/a.png", random_pixels(10, 10))
    for path, message in {
        tmp_path / "gone": r"gone: no such file or folder$",
        tmp_path / "empty": r"empty: no pictures in it; give a folder or \.tar with",
        tmp_path / "bad.tar": r"bad\.tar: not a readable tar file .*; download or pack it again",
        small: r"no pictures to train on .*1 skipped, the first: .*a\.png: 10x10 is smaller than the crop, 16",
    }.items():
        with pytest.raises(RestoreError, match=message):
            read_sources([path], 16)
    with pytest.raises(RestoreError, match="no path was given"):
        read_sources([], 16)


def test_a_truncated_shard_raises_an_error(tmp_path):
    path = packed(tmp_path / "a.tar.gz", "w:gz", {f"{n}.png": png(random_pixels(seed=n)) for n in range(5)})
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(RestoreError, match="not a readable tar file"):
        read_sources([path], 8)


@settings(max_examples=50)
@given(st.integers(2, 60), st.data(), st.integers(0, 99))
def test_split_keeps_every_picture_once_and_is_reproducible(count, data, seed):
    held_out = data.draw(st.integers(0, count - 1))
    pictures = [coordinate_picture(n, 2, 2) for n in range(count)]
    train, valid = split(pictures, held_out, seed)
    assert len(valid) == held_out
    names = [p.name for p in pictures]
    assert [name for name in names if name in {p.name for p in train}] == [p.name for p in train]
    assert sorted([*train, *valid], key=lambda p: int(p.name[:-4])) == pictures
    again = split(pictures, held_out, seed)
    assert [p.name for p in again[1]] == [p.name for p in valid]


def test_split_depends_on_the_seed_and_holds_out_a_tenth_by_default():
    pictures = [coordinate_picture(n, 2, 2) for n in range(200)]
    chosen = {tuple(p.name for p in split(pictures, 5, seed)[1]) for seed in range(10)}
    assert len(chosen) == 10
    assert len(split(pictures, None, 0)[1]) == 20
    assert len(split(pictures * 10, None, 0)[1]) == 32


@pytest.mark.parametrize("held_out", [3, 4])
def test_split_needs_a_picture_to_train_on(held_out):
    with pytest.raises(RestoreError, match=f"held_out = {held_out} leaves nothing of 3 pictures"):
        split([coordinate_picture(n, 2, 2) for n in range(3)], held_out, 0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(8, 40), st.integers(8, 40)), min_size=1, max_size=4), st.integers(1, 8))
def test_crops_are_rotated_and_flipped_pieces_of_the_pictures(sizes, side):
    pictures = [coordinate_picture(n, *size) for n, size in enumerate(sizes)]
    crops, labels = sampled(pictures, side, 30)
    assert crops.shape == (30, 3, side, side) and crops.dtype == torch.float32 and labels is None
    for piece in values(crops).round().astype(int):
        rows, columns, n = piece[..., 0], piece[..., 1], piece[0, 0, 2]
        top, left = rows.min(), columns.min()
        expected = pictures[n].pixels[top : top + side, left : left + side]
        assert expected.shape == piece.shape
        assert any((piece == each).all() for each in orientations(expected))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(0, 12), st.integers(0, 12))
def test_halved_crops_are_averages_of_twice_the_side(side, taller, wider):
    """Averages of four neighbours: half-integer rows and columns, two apart."""
    picture = coordinate_picture(7, 2 * side + taller, 2 * side + wider)
    crops, _ = sampled([picture], side, 20, half=1.0)
    for piece in values(crops):
        top, left = (round(piece[..., axis].min() - 0.5) for axis in (0, 1))
        assert 0 <= top <= taller and 0 <= left <= wider
        rows, columns = np.mgrid[:side, :side] * 2 + np.array([top, left])[:, None, None] + 0.5
        expected = np.stack([rows, columns, np.full_like(rows, 7)], -1)
        assert any(np.allclose(piece, each, atol=1e-4) for each in orientations(expected))


def test_the_share_of_halved_crops_is_exact_and_only_of_large_pictures():
    pictures = [coordinate_picture(0, 15, 40), coordinate_picture(1, 16, 16)]
    crops, _ = sampled(pictures, 8, 400, half=0.25)
    pieces = values(crops)
    halved = abs(pieces[..., 0] - pieces[..., 0].round()).max((1, 2)) > 0.2
    assert halved.sum() == 100
    assert (pieces[halved][..., 2].round() == 1).all()
    assert halved[:100].sum() == pytest.approx(25, abs=13)  # at random places in the batch
    only_small, _ = sampled(pictures[:1], 8, 40, half=1.0)
    assert np.allclose(values(only_small), values(only_small).round(), atol=1e-4)


def test_crops_depend_on_the_generator_state_and_advance_it():
    pictures = [coordinate_picture(n, 30, 30) for n in range(3)]
    crops = Crops(pictures, 8, half=0.5, device=CPU)
    generator = torch.Generator().manual_seed(4)
    first, second = crops(10, generator)[0], crops(10, generator)[0]
    assert torch.equal(first, crops(10, torch.Generator().manual_seed(4))[0])
    assert not torch.equal(first, second)


def test_positions_are_uniform_and_pictures_weighted_by_area():
    pictures = [coordinate_picture(0, 10, 12), coordinate_picture(1, 20, 24)]
    pieces = values(sampled(pictures, 8, 8000)[0]).round().astype(int)
    of = pieces[:, 0, 0, 2]
    assert (of == 1).mean() == pytest.approx(0.8, abs=0.03)
    top, left = pieces[of == 0][..., 0].min((1, 2)), pieces[of == 0][..., 1].min((1, 2))
    counts = np.zeros((3, 5))
    np.add.at(counts, (top, left), 1)
    assert abs(counts / counts.mean() - 1).max() < 0.35
    assert {*pieces[of == 1][..., 0].max((1, 2))} >= {7, 19} and {*pieces[of == 1][..., 1].max((1, 2))} >= {7, 23}


@pytest.mark.parametrize("half", [0.0, 1.0])
def test_orientations_are_uniform(half):
    pieces = values(sampled([coordinate_picture(0, 40, 30)], 8, 4000, half=half)[0])
    numbers = [
        next(n for n, each in enumerate(orientations(upright(piece))) if np.allclose(each, piece)) for piece in pieces
    ]
    counts = np.bincount(numbers, minlength=8)
    assert len(counts) == 8
    assert abs(counts / 500 - 1).max() < 0.2


def test_crops_range_from_minus_one_to_one():
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[4:] = 255
    crops, _ = sampled([Picture("a", "", pixels)], 8, 3)
    assert crops.amin() == -1 and crops.amax() == 1


def test_classes_are_the_sorted_folders():
    pictures = [
        Picture(f"{folder}/{n}", folder, np.full((9, 9, 3), value, np.uint8))
        for n, (folder, value) in enumerate([("dogs", 10), ("cats", 20), ("dogs", 30)])
    ]
    crops = Crops(pictures, 4, half=0.5, device=CPU, labels=True)
    assert crops.classes == ["cats", "dogs"]
    pieces, labels = crops(60, torch.Generator().manual_seed(0))
    grey = values(pieces)[:, 0, 0, 0].round().astype(int)
    assert labels.tolist() == [0 if value == 20 else 1 for value in grey]
    assert {*grey} == {10, 20, 30}


@pytest.mark.parametrize(("height", "width", "top", "left"), [(10, 13, 1, 2), (8, 8, 0, 0), (9, 8, 0, 0)])
def test_centres_are_cut_from_the_middle(height, width, top, left):
    piece = values(centres([coordinate_picture(3, height, width)], 8)).round().astype(int)[0]
    np.testing.assert_array_equal(piece, coordinate_picture(3, height, width).pixels[top : top + 8, left : left + 8])


def test_centres_skips_small_pictures():
    assert len(centres([coordinate_picture(0, 7, 30), coordinate_picture(1, 30, 8)], 8)) == 1
    assert centres([coordinate_picture(0, 7, 30)], 8).shape == (0, 3, 8, 8)
