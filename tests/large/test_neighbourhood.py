"""Small holes are restored from their neighbourhood, with the same pixels as from the whole picture."""

import numpy as np
import pytest
import skimage.data
import torch
from helpers.networks import network
from PIL import Image

from bcm_restore import schemes, spans, tasks
from bcm_restore.large import neighbourhood, runner
from bcm_restore.large.neighbourhood import Reach, Window, reaches
from bcm_restore.model import BCM, Noise
from bcm_restore.networks import TiledNetwork

# With channels that fill vectors, as those of the package's models; else pixels near borders are rounded differently.
NETWORK = network(channels=(16, 16), blocks=(1, 1), middle=1, embedding=16)
PHOTOGRAPH = np.ascontiguousarray(skimage.data.astronaut()[:413, :507])
HOLES = {
    "thin": (slice(200, 203), slice(240, 250)),
    "wide": (slice(190, 214), slice(240, 270)),
    "deep": (slice(120, 190), slice(200, 272)),
    "at the corner": (slice(380, 413), slice(480, 507)),
    "at the left": (slice(101, 109), slice(0, 5)),
}
NOISY = "noise 0.3, mean 2, fit, renoise 0.2 0.3, mean, fit, renoise 0.1 0.5, to 0, fit"
IN_HOLE = "noise 80 hole, mean 3, level 0.3, noise 0.36, mean, fit, renoise 0.05 0.3, mean, fit"
WITHOUT_FIT = "noise 0.2, to 80, to 0"


class Counting(TiledNetwork):
    """Counts the pixels that it evaluates."""

    pixels = 0

    def forward(self, x, *arguments):
        self.pixels += x.shape[2] * x.shape[3]
        return super().forward(x, *arguments)


def marked(place, size=PHOTOGRAPH.shape[:2]):
    mask = np.zeros(size, bool)
    mask[place] = True
    return mask


def nearby_and_whole(image, mask, monkeypatch, **options):
    """The restorations from the neighbourhood and from the whole picture."""
    found = []
    for share in (1.0, 0.0):
        monkeypatch.setattr(neighbourhood, "SHARE", share)
        network = Counting(NETWORK)
        model = BCM(network, device="cpu", level_maps=True, name="toy")
        result = tasks.get("inpaint").run(image, mask=mask, model=model, **options)
        assert model.nfe == result.nfe
        found.append((result, network.pixels))
    (near, less), (whole, all_pixels) = found
    assert less < 0.8 * all_pixels
    assert (near.case, near.scheme, near.nfe, near.model) == (whole.case, whole.scheme, whole.nfe, whole.model)
    return near.image, whole.image


@pytest.mark.parametrize("place", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("scheme", [NOISY, IN_HOLE, WITHOUT_FIT], ids=["renoise", "in the hole", "without fit"])
def test_the_result_is_the_same_to_the_last_bit(place, scheme, monkeypatch):
    image = (PHOTOGRAPH / np.float32(255)).astype(np.float32)
    near, whole = nearby_and_whole(image, marked(place), monkeypatch, scheme=scheme)
    assert np.array_equal(near, whole)
    assert np.abs(near - image)[place].max() > 0.05


@pytest.mark.parametrize("scheme", [NOISY, WITHOUT_FIT], ids=["renoise", "without fit"])
def test_holes_far_apart_have_neighbourhoods_of_their_own(scheme, monkeypatch):
    image = (np.tile(PHOTOGRAPH, (2, 2, 1)) / np.float32(255)).astype(np.float32)
    mask = marked((slice(30, 40), slice(30, 60)), image.shape[:2])
    mask[52:55, 70:75] = True  # near the first
    mask[700:712, 901:930] = True
    mask[30, -1] = mask[-1, 30] = True
    found = neighbourhood.find(torch.from_numpy(mask)[None, None], schemes.parse(scheme), TiledNetwork(NETWORK))
    assert found and len(found) == 4
    near, whole = nearby_and_whole(image, mask, monkeypatch, scheme=scheme)
    assert np.array_equal(near, whole)


@pytest.mark.parametrize(
    "image",
    [
        PHOTOGRAPH,
        PHOTOGRAPH[..., 0],
        PHOTOGRAPH.astype(np.uint16) * 257,
        torch.from_numpy(PHOTOGRAPH).permute(2, 0, 1),
        Image.fromarray(PHOTOGRAPH),
        Image.fromarray(PHOTOGRAPH).convert("L"),
        Image.fromarray(PHOTOGRAPH[..., 0].astype(np.uint16) * 257),
    ],
    ids=["array", "grey", "16 bits", "tensor", "PIL", "PIL grey", "PIL 16 bits"],
)
def test_results_keep_the_type(image, monkeypatch):
    near, whole = nearby_and_whole(image, marked(HOLES["wide"]), monkeypatch, nfe=1)
    assert type(near) is type(whole)
    if isinstance(image, Image.Image):
        assert near.mode == whole.mode
    near, whole = np.asarray(near), np.asarray(whole)
    assert near.dtype == whole.dtype
    assert np.array_equal(near, whole)


def test_a_picture_in_files_gives_the_same(monkeypatch):
    monkeypatch.setattr(spans, "LARGE", PHOTOGRAPH.shape[0] * PHOTOGRAPH.shape[1] - 1)
    monkeypatch.setattr(runner, "PIECE", 16 * 1001)
    results = []
    for share in (1.0, 0.0):
        monkeypatch.setattr(neighbourhood, "SHARE", share)
        model = BCM(TiledNetwork(NETWORK), device="cpu", level_maps=True, name="toy")
        results.append(tasks.get("inpaint").restore(PHOTOGRAPH, mask=marked(HOLES["wide"]), model=model, scheme=NOISY))
    assert np.array_equal(*results)


@pytest.mark.slow
@pytest.mark.parametrize("nfe", [1, 4])
def test_the_model_of_the_package(nfe, model, monkeypatch):
    image = np.ascontiguousarray(np.tile(skimage.data.astronaut(), (2, 2, 1))[:640, :1000])
    mask = marked((slice(300, 308), slice(500, 540)), image.shape[:2])
    found = []
    for share in (1.0, 0.0):
        monkeypatch.setattr(neighbourhood, "SHARE", share)
        found.append(tasks.get("inpaint").restore(image, mask=mask, model=model, nfe=nfe))
    assert np.array_equal(*found)


def test_large_holes_are_restored_with_the_whole_picture():
    hole = torch.zeros(1, 1, 400, 400, dtype=torch.bool)
    scheme = schemes.parse(NOISY)
    hole[:, :, 190:200, 190:200] = True
    assert neighbourhood.find(hole, scheme, TiledNetwork(NETWORK))
    hole[:, :, 100:300, 10:390] = True
    assert neighbourhood.find(hole, scheme, TiledNetwork(NETWORK)) is None


def test_the_reach_of_evaluations():
    """By hand: with halos of 10 and 12 pixels."""

    def found(scheme):
        return reaches(schemes.parse(scheme), 10, 12)

    assert found("level 0.1, mean, fit") == [Reach(0, 10)]
    assert found("noise 1, to 80, to 0, fit") == [Reach(10, 20), Reach(0, 10)]
    assert found("noise 1, mean, fit, noise 0.1, mean, fit") == [Reach(0, 10), Reach(0, 10)]
    assert found("noise 1, mean, fit, renoise 0.1 0.3, mean, fit") == [Reach(10, 20), Reach(0, 10)]
    assert found("noise 80 hole, mean, level 0.3, mean, fit") == [Reach(0, 12), Reach(0, 10)]


def test_windows_are_cut_at_multiples_or_the_border():
    inner = Window(slice(20, 30), slice(50, 60))
    wide = inner.widened(7, (100, 63), 8)
    assert wide == Window(slice(8, 40), slice(40, 63))
    assert wide.pixels == 32 * 23
    assert inner.widened(7, (100, 63), 8, least=50) == Window(slice(8, 64), slice(8, 63))
    assert inner.within(wide) == Window(slice(12, 22), slice(10, 20))


def test_the_noise_of_a_window_is_that_of_the_whole(monkeypatch):
    monkeypatch.setattr(runner, "PIECE", 16 * 7)
    whole, windows = Noise([3]), [Window(slice(5, 12), slice(2, 19)), Window(slice(14, 17), slice(0, 23))]
    one, other = neighbourhood.window_noise(Noise([3]), (17, 23), windows)
    for _ in range(2):
        expected = whole(torch.empty(1, 3, 17, 23))
        assert torch.equal(one(torch.empty(1)), expected[:, :, 5:12, 2:19])
        assert torch.equal(other(torch.empty(1)), expected[:, :, 14:])
