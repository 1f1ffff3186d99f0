"""Results in the files of I2SB's published code."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from helpers.contestants import BOX, SHAPES, check, error_of, noise, sample

from bcm_restore.bench.base import Shape


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
