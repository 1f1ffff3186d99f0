"""The JPEG operator, against files by Pillow, their coefficients by jpeglib, and the originals."""

import doctest
import importlib
import io

import numpy as np
import pytest
import torch
from helpers.jpegs import ALIGNED, KINDS, ODD, compressed, guess, picture, psnr, to_tensor
from PIL import Image
from skimage import data

from bcm_restore.errors import RestoreError
from bcm_restore.images import jpeg_coefficients
from bcm_restore.operators import Coefficients, Jpeg, standard_tables
from bcm_restore.operators.dct import (
    COSINES,
    RGB_TO_YCC,
    YCC_TO_RGB,
    from_blocks,
    inverse_transform,
    luma,
    to_blocks,
    to_rgb,
    to_ycc,
    transform,
)

# --- the parts of JPEG


def test_colour_transform_round_trip():
    assert np.abs(RGB_TO_YCC @ YCC_TO_RGB - np.eye(3)).max() < 1e-15
    np.testing.assert_allclose(YCC_TO_RGB[:, 0], 1, atol=1e-15)
    np.testing.assert_allclose(YCC_TO_RGB[1, 1:], [-0.344136, -0.714136], atol=1e-6)
    x = torch.rand(2, 3, 5, 4) * 2 - 1
    ycc = to_ycc(x, 3)
    ycc[:, 0] += 0.5
    assert torch.allclose(to_rgb(ycc), x, atol=1e-6)
    white = to_ycc(torch.ones(1, 3, 1, 1), 3).flatten()
    assert torch.allclose(white, torch.tensor([127.0, 0, 0]), atol=1e-4)  # 255 - 128


def test_luma_of_grey_is_bit_exact():
    grey = (torch.rand(1, 1, 9, 9) * 2 - 1).expand(1, 3, 9, 9)
    assert torch.equal(luma(grey), grey[:, :1])
    x = torch.rand(1, 3, 5, 4) * 2 - 1
    assert torch.allclose((luma(x) * 127.5 - 0.5), to_ycc(x, 1), atol=1e-4)


def test_transform_against_the_definition():
    planes = torch.randn(2, 16, 24, dtype=torch.float64)
    assert torch.allclose(torch.from_numpy(COSINES @ COSINES.T), torch.eye(8, dtype=torch.float64), atol=1e-15)
    expected = COSINES @ planes[1, 8:16, 16:24].numpy() @ COSINES.T
    np.testing.assert_allclose(to_blocks(transform(planes))[1, 1, 2], expected, atol=1e-12)
    assert torch.allclose(inverse_transform(transform(planes)), planes)
    assert torch.equal(from_blocks(to_blocks(planes)), planes)


def test_standard_tables_are_pillows():
    for quality in range(1, 101):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
        written = Image.open(buffer).quantization
        for table, ours in zip((written[0], written[1]), standard_tables(quality), strict=True):
            assert ours.flatten().tolist() == list(table), quality
    for quality in (0, 101):
        with pytest.raises(RestoreError, match="1 to 100"):
            standard_tables(quality)


# --- the operator


@pytest.mark.parametrize("size", [ALIGNED, ODD])
@pytest.mark.parametrize("kind", KINDS)
def test_A_is_the_encoder(kind, size, tmp_path):
    image = picture(*size, kind)
    for quality, agreement in [(5, 0.999), (20, 0.998), (75, 0.985), (95, 0.92)]:
        operator = Jpeg(compressed(image, tmp_path, quality, kind)[0])
        for ours, files in zip(operator.A(to_tensor(image)), operator.y, strict=True):
            assert ours.dtype == torch.int16 and ours.shape == files.shape
            # The encoder first rounds Y, Cb and Cr to integers, which matters for steps of 1 and 2.
            assert (ours == files).float().mean() >= agreement
            assert (ours - files).abs().max() <= (1 if quality < 95 else 2)


@pytest.mark.parametrize("size", [ALIGNED, ODD])
@pytest.mark.parametrize("kind", ["4:4:4", "grey"])
def test_pinv_is_the_decoder(kind, size, tmp_path):
    image = picture(*size, kind).point(lambda value: 80 + value // 3)  # avoids clipping
    for quality in (10, 50, 90):
        coefficients, decoded = compressed(image, tmp_path, quality, kind)
        operator = Jpeg(coefficients)
        error = (operator.pinv(operator.y) - decoded).abs().max() * 127.5
        # Pillow rounds Y, Cb and Cr, then RGB: errors of 1/2 for grey, else up to 1/2 + 1.772/2 + 1/2.
        assert error < (0.6 if kind == "grey" else 1.9)


@pytest.mark.parametrize("kind", KINDS)
def test_pinv_compresses_to_the_file(kind, tmp_path):
    for quality in (5, 50, 95):
        operator = Jpeg(compressed(picture(*ALIGNED, kind), tmp_path, quality, kind)[0])
        assert all(map(torch.equal, operator.A(operator.pinv(operator.y)), operator.y))


def whole_blocks(operator, y):
    """The coefficients of the blocks inside the image."""
    height, width = operator.size
    return [
        k[:, : height // (8 * c.factor[0]), : width // (8 * c.factor[1])]
        for k, c in zip(y, operator.components, strict=True)
    ]


@pytest.mark.parametrize("size", [ALIGNED, ODD])
@pytest.mark.parametrize("kind", KINDS)
def test_fit_is_a_projection(kind, size, tmp_path):
    for quality in (5, 40, 95):
        operator = Jpeg(compressed(picture(*size, kind), tmp_path, quality, kind)[0])
        x = guess(to_tensor(picture(*size, kind)))
        before, fitted = x.clone(), operator.fit(x, operator.y)
        assert torch.equal(x, before)
        assert (fitted - x).abs().max() > 0.01  # the correction is not trivial
        wanted = whole_blocks(operator, operator.y)
        assert all(map(torch.equal, whole_blocks(operator, operator.A(fitted)), wanted))
        assert size == ODD or all(map(torch.equal, wanted, operator.y))
        moved = (operator.fit(fitted, operator.y) - fitted).abs() * 127.5
        inside = moved[..., : size[0] // 16 * 16, : size[1] // 16 * 16]
        assert inside.max() < 1e-4
        assert moved.square().mean().sqrt() < (1e-4 if size == ALIGNED else 0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_fit_moves_no_further_than_the_interval(kind, tmp_path):
    operator = Jpeg(compressed(picture(*ALIGNED, kind), tmp_path, 30, kind)[0])
    x = guess(operator.pinv(operator.y), strength=0.3)
    before, after = (operator._analyse(image) for image in (x, operator.fit(x, operator.y)))
    for c, k, old, new in zip(operator.components, operator.y, before, after, strict=True):
        old, new = (to_blocks(transform(plane)) / c.table for plane in (old, new))
        assert torch.allclose(new, old.clamp(k - 0.499, k + 0.499), atol=1e-3)
        assert 0.01 < ((new - old).abs() < 1e-3).float().mean() < 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_consistent_pixels_are_unchanged(kind, tmp_path):
    operator = Jpeg(compressed(picture(*ALIGNED, kind), tmp_path, 20, kind)[0])
    x = operator.pinv(operator.y)
    assert torch.equal(operator.fit(x, operator.y), x)
    x[..., 40:48, 40:48] = guess(x, strength=1)[..., 40:48, 40:48]  # within one block of 16 x 16
    changed = (operator.fit(x, operator.y) != x).any(1)[0].nonzero()
    assert len(changed) and changed.min() >= 32 and changed.max() < 48


@pytest.mark.parametrize("size", [ALIGNED, ODD, (97, 121), (8, 8), (1, 1), (3, 200), (33, 17)])
@pytest.mark.parametrize("kind", KINDS)
def test_fit_improves_any_picture(kind, size, tmp_path):
    original = picture(*size, kind, top=0)
    x = to_tensor(original)
    for quality in (5, 50, 95):
        coefficients, decoded = compressed(original, tmp_path, quality, kind)
        operator = Jpeg(coefficients)
        fitted, rough = operator.fit(decoded, operator.y), guess(x, strength=0.3)
        assert psnr(fitted, x) > psnr(decoded, x) - 0.02
        gain = psnr(operator.fit(rough, operator.y), x) - psnr(rough, x)
        assert gain > (0.4 if quality >= 50 and min(size) >= 8 else -1e-3)
        assert psnr(operator.fit(x, operator.y), x) > 60  # the original is in the set, or close to it


def test_fit_of_cropped_files_keeps_the_picture(tmp_path):
    """Lossless cropping leaves real pixels outside the image, not repeated borders."""
    for size in [(100, 75), (97, 130)]:
        larger = picture(size[0] + 20, size[1] + 20, "grey")
        coefficients, decoded = compressed(larger, tmp_path, 50, "grey")
        blocks = coefficients.planes[0][: -(-size[0] // 8), : -(-size[1] // 8)]
        operator = Jpeg(coefficients._replace(planes=[blocks], size=size))
        decoded, original = (image[..., : size[0], : size[1]] for image in (decoded, to_tensor(larger)))
        edge = (..., slice(None), slice(size[1] // 8 * 8, None))
        assert psnr(operator.fit(decoded, operator.y)[edge], original[edge]) > psnr(decoded[edge], original[edge]) - 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_saturated_pictures(kind, tmp_path):
    checks = np.kron(np.indices((16, 16)).sum(0) % 2, np.ones((5, 5)))[..., None] * [255, 255, 0]
    image = Image.fromarray(checks.astype(np.uint8))
    image = image.convert("L") if kind == "grey" else image
    for quality in (5, 50):
        coefficients, decoded = compressed(image, tmp_path, quality, kind)
        operator = Jpeg(coefficients)
        fitted = operator.fit(decoded, operator.y)
        assert all(map(torch.equal, operator.A(fitted), operator.y))
        assert psnr(fitted.clamp(-1, 1), to_tensor(image)) >= psnr(decoded, to_tensor(image)) - 0.05
    assert decoded.abs().max() == 1 and fitted.abs().max() > 1  # fit does not clamp


def test_grey_stays_grey_and_luma_alone_leaves_chroma(tmp_path):
    coefficients, _ = compressed(picture(*ALIGNED, "grey"), tmp_path, 30, "grey")
    x = guess(to_tensor(picture(*ALIGNED)))
    fitted = Jpeg(coefficients).fit(x, Jpeg(coefficients).y)
    assert torch.equal(fitted[:, 0], fitted[:, 1]) and torch.equal(fitted[:, 0], fitted[:, 2])
    operator = Jpeg(coefficients, grey=False)
    coloured = operator.fit(x, operator.y)
    assert (to_ycc(coloured, 3)[:, 1:] - to_ycc(x, 3)[:, 1:]).abs().max() < 1e-3
    for result in (fitted, coloured):
        assert torch.equal(operator.A(result)[0], operator.y[0])


def test_padded_planes_batches_and_other_coefficients(tmp_path):
    coefficients, _ = compressed(picture(*ODD), tmp_path, 50, "4:2:0")
    operator = Jpeg(coefficients)
    padded = [np.pad(plane, [(0, 3), (0, 2), (0, 0), (0, 0)], constant_values=77) for plane in coefficients.planes]
    same = Jpeg(coefficients._replace(planes=padded))
    assert all(map(torch.equal, operator.y, same.y))
    x = guess(to_tensor(picture(*ODD)))
    batch = torch.cat([x, x.flip(1)])
    one_file = operator.fit(batch, operator.y)
    assert torch.equal(one_file[:1], operator.fit(x, operator.y))
    y = operator.A(batch)
    each = operator.fit(batch * 0.5, y)
    assert torch.equal(each[1:], operator.fit(batch[1:] * 0.5, [k[1:] for k in y]))
    assert all(map(torch.equal, whole_blocks(operator, operator.A(each)), whole_blocks(operator, y)))
    double = operator.fit(x.double(), operator.y)
    assert double.dtype == torch.float64 and torch.allclose(double.float(), one_file[:1], atol=1e-6)


def test_invalid_arguments_are_refused(tmp_path):
    coefficients, _ = compressed(picture(*ALIGNED), tmp_path, 50, "4:2:0")
    planes, tables, sampling = coefficients.planes, coefficients.tables, coefficients.sampling
    with pytest.raises(RestoreError, match="convert it to grey or RGB"):
        Jpeg(
            coefficients._replace(planes=planes + planes[:1], tables=tables + tables[:1], sampling=[*sampling, (1, 1)])
        )
    with pytest.raises(RestoreError, match="sampling factors"):
        Jpeg(coefficients._replace(sampling=[(3, 3), (2, 2), (1, 1)]))
    with pytest.raises(RestoreError, match="damaged"):
        Jpeg(coefficients._replace(planes=[plane[:2] for plane in planes]))
    operator = Jpeg(coefficients)
    with pytest.raises(RestoreError, match="float images"):
        operator.A(torch.zeros(1, 3, 96, 129))
    with pytest.raises(RestoreError, match=r"pass operator\.y"):
        operator.fit(torch.zeros(1, 3, 96, 128), operator.y[:1])


@pytest.mark.parametrize("colour", ["RGB", "YCCK"])
def test_rgb_and_ycck(colour, tmp_path):
    """RGB without transform, and the negative in YCCK."""
    path, image = tmp_path / "a.jpg", picture(*ALIGNED)
    if colour == "RGB":
        image.save(path, quality=30, keep_rgb=True)
    else:
        Image.fromarray(255 - np.asarray(image)).save(path, quality=30, subsampling=0)
    coefficients = Coefficients(*jpeg_coefficients(path)[:4], colour)
    decoded = to_tensor(Image.open(path)) * (1 if colour == "RGB" else -1)
    operator = Jpeg(coefficients)
    assert psnr(operator.pinv(operator.y), decoded) > 40
    assert all(map(torch.equal, operator.A(operator.pinv(operator.y)), operator.y))
    assert psnr(operator.fit(to_tensor(image), operator.y), to_tensor(image)) > 60
    error = float((decoded - to_tensor(image)).square().mean().sqrt())
    assert 1 / 1.5 < operator.level() / error < 1.5


# --- the level


@pytest.mark.parametrize("name", ["astronaut", "coffee", "camera", "chelsea", "brick", "moon"])
def test_level_is_the_error_of_the_decoded_picture(name, tmp_path):
    image = Image.fromarray(getattr(data, name)())
    levels = []
    for quality in (5, 10, 20, 40, 75, 95):
        coefficients, decoded = compressed(image, tmp_path, quality, "grey" if image.mode == "L" else "4:4:4")
        levels.append(Jpeg(coefficients).level())
        error = float((decoded - to_tensor(image)).square().mean().sqrt())
        assert 1 / 1.25 < levels[-1] / error < 1.25, (quality, levels[-1], error)
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize("strip", [8, 64, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_depend_on_strips(kind, strip, tmp_path, monkeypatch):
    operator = Jpeg(compressed(picture(*ODD, kind), tmp_path, 50, kind)[0])
    x = guess(to_tensor(picture(*ODD, kind)))
    expected = operator.fit(x, operator.y), operator.pinv(operator.y), *operator.A(x)
    monkeypatch.setattr("bcm_restore.operators.jpeg.STRIP", strip)
    assert len(list(operator._strips())) == -(-ODD[0] // max(strip, 16 if kind == "4:2:0" else 8))
    for ours, theirs in zip(
        (operator.fit(x, operator.y), operator.pinv(operator.y), *operator.A(x)), expected, strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("module", ["dct", "jpeg", "jpeg_search"])
def test_docstring_examples(module):
    results = doctest.testmod(importlib.import_module(f"bcm_restore.operators.{module}"))
    assert results.attempted > 0 and results.failed == 0
