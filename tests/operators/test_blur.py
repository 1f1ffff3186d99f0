"""Blurring against SciPy and deepinv, its inverses against dense matrices, kernels, and the search for a blur."""

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve

from bcm_restore.errors import RestoreError
from bcm_restore.operators import Blur, blur, kernels
from bcm_restore.operators.blur_search import find_blur, noise_of_blurred
from bcm_restore.simulation.degradations import blurred

side = st.integers(1, 24)


def random_image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def tensor(picture):
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


# --- the operator


@settings(deadline=None, max_examples=25)
@given(size=st.tuples(side, side), shape=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_blurring_is_scipys_convolution(size, shape):
    kernel = kernels.normalised(random_image(*shape) + 1)
    x = random_image(2, 3, *size, seed=1)
    expected = [[convolve(plane.numpy(), kernel.numpy(), mode="nearest") for plane in image] for image in x]
    np.testing.assert_allclose(Blur(kernel, size).A(x).numpy(), np.array(expected), atol=2e-6)


def test_blurring_is_deepinvs():
    physics = pytest.importorskip("deepinv.physics")
    kernel, x = kernels.normalised(random_image(5, 7) + 1), random_image(1, 3, 20, 17)
    expected = physics.Blur(filter=kernel[None, None], padding="replicate").A(x)
    torch.testing.assert_close(Blur(kernel, (20, 17)).A(x), expected, atol=1e-5, rtol=0)


def dense(operator):
    """The matrix C K (pixels of the frame x of the canvas), where the frame is in the canvas, and the canvas's size."""
    height, width = operator._canvas
    (top, left), (rows, columns), kernel = (operator._top, operator._left), operator.size, operator.kernel.double()
    matrix = torch.zeros(rows, columns, height, width, dtype=torch.float64)
    for i, j in np.ndindex(rows, columns):
        for a, b in np.ndindex(*kernel.shape):
            matrix[i, j, (i + 2 * top - a) % height, (j + 2 * left - b) % width] += kernel[a, b]
    frame = np.zeros((height, width), bool)
    frame[top : top + rows, left : left + columns] = True
    return matrix.view(rows * columns, -1).numpy(), frame, (height, width)


def differences(size):
    """The matrix of periodic differences between neighbours, down and across."""
    identity = np.eye(size[0] * size[1]).reshape(-1, *size)
    return np.concatenate([(np.roll(identity, -1, axis) - identity).reshape(len(identity), -1).T for axis in (1, 2)])


def edged(x, operator, size):
    """The image, extended by its edges to the canvas."""
    below, right = (c - n - o for c, n, o in zip(size, x.shape, (operator._top, operator._left), strict=True))
    return np.pad(x, ((operator._top, below), (operator._left, right)), "edge").ravel()


@pytest.fixture
def many_steps(monkeypatch):
    monkeypatch.setattr(blur, "STEPS", 300)


def test_fit_solves_its_least_squares(many_steps):
    operator = Blur(torch.rand(3, 5, generator=torch.Generator().manual_seed(0)), (6, 4), sigma=0.1, error=0.2)
    x, y = random_image(1, 3, 6, 4, seed=1), random_image(1, 3, 6, 4, seed=2)
    matrix, frame, size = dense(operator)
    weight = np.diag((0.1 / 0.2) ** 2 * np.where(frame, 1, blur.OUTSIDE).ravel())
    fitted = operator.fit(x, y)
    for channel in range(3):
        z = edged(x[0, channel].double().numpy(), operator, size)
        residual = y[0, channel].double().numpy().ravel() - matrix @ z
        z = z + np.linalg.solve(matrix.T @ matrix + weight, matrix.T @ residual)
        np.testing.assert_allclose(fitted[0, channel].numpy(), z[frame.ravel()].reshape(6, 4), atol=1e-5)


def test_pinv_solves_its_least_squares(many_steps):
    operator = Blur(torch.rand(3, 3, generator=torch.Generator().manual_seed(0)), (5, 6), sigma=0.1)
    y = random_image(1, 3, 5, 6)
    matrix, frame, size = dense(operator)
    gradients = differences(size)
    normal = matrix.T @ matrix + (0.1 / blur.GRADIENT) ** 2 * gradients.T @ gradients
    found = operator.pinv(y)
    for channel in range(3):
        z = np.linalg.solve(normal, matrix.T @ y[0, channel].double().numpy().ravel())
        np.testing.assert_allclose(found[0, channel].numpy(), z[frame.ravel()].reshape(5, 6), atol=1e-5)


def test_fit_explains_the_measurement_and_keeps_what_explains_it():
    operator = Blur(kernels.gaussian(1.2), (32, 40))
    truth = tensor(skimage.data.astronaut()[100:132, 200:240])
    y = operator.A(truth)
    torch.testing.assert_close(operator.fit(truth, y), truth, atol=1e-4, rtol=0)
    rough = truth + 0.1 * random_image(1, 3, 32, 40)
    before, after = ((operator.A(x) - y).square().mean() for x in (rough, operator.fit(rough, y)))
    assert after < 1.2 * blur.LEAST**2 + before / 10


def test_images_of_a_batch_are_independent():
    operator, x, y = Blur(kernels.disk(2), (9, 14)), random_image(2, 3, 9, 14), random_image(2, 3, 9, 14, seed=1)
    alone = torch.cat([operator.fit(a[None], b[None]) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(operator.fit(x, y), alone, atol=1e-5, rtol=0)


def test_images_of_another_size_are_refused():
    with pytest.raises(RestoreError, match=r"\(B, 3, 4, 4\)"):
        Blur(torch.ones(3, 3), (4, 4)).A(torch.zeros(1, 3, 5, 4))


def test_the_expected_error_grows_with_noise_and_blur():
    small, noisy, wide = (
        blur.expected_error(kernels.gaussian(sigma), noise) for sigma, noise in ((1, 0), (1, 0.05), (2, 0))
    )
    assert 0 < small < wide
    assert small < noisy


# --- kernels


@pytest.mark.parametrize("text", ["gaussian:0.1", "gaussian:2", "disk:0.5", "disk:3.3", "motion:1", "motion:14.5:77"])
def test_kernels_are_odd_symmetric_and_sum_to_one(text):
    kernel = kernels.named(text)
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(kernel, kernel.flip(0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 1.63, 6.0])
def test_gaussians_are_kornias(sigma):
    filters = pytest.importorskip("kornia.filters")
    kernel = kernels.gaussian(sigma)
    expected = filters.get_gaussian_kernel2d(tuple(kernel.shape), (sigma, sigma))[0]
    torch.testing.assert_close(kernel, expected, atol=1e-6, rtol=0)


def length_and_angle(kernel):
    """Those of the line with the second moments of a kernel."""
    rows, columns = (np.arange(side) - side // 2 for side in kernel.shape)
    down, right = (kernel.double().numpy() * axis for axis in (rows[:, None], columns))
    xx, yy, xy = (right * columns).sum(), (down * rows[:, None]).sum(), -(down * columns).sum()
    variance = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)
    return np.sqrt(12 * variance), np.degrees(np.arctan2(2 * xy, xx - yy) / 2) % 180


@pytest.mark.parametrize(("length", "angle"), [(9, 45), (15, 30), (15, 70), (21, 100)])
def test_motions_are_kornias_by_bilinear_interpolation(length, angle):
    filters = pytest.importorskip("kornia.filters")
    expected = length_and_angle(filters.get_motion_kernel2d(length, float(angle), mode="bilinear")[0])
    assert length_and_angle(kernels.motion(length, angle)) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("length", "angle"), [(8, 10), (14.5, 77), (21, 101.5), (18, 30)])
def test_motions_have_any_length_and_angle(length, angle):
    assert length_and_angle(kernels.motion(length, angle)) == pytest.approx((length, angle), rel=0.02)


def test_disks_are_flat_inside():
    kernel = kernels.disk(4.0)
    assert kernel.shape == (9, 9)
    assert float(kernel[4, 4]) == pytest.approx(1 / (np.pi * 16), rel=0.02)
    assert kernel[0, 0] == 0


def test_motions_run_counter_clockwise():
    torch.testing.assert_close(kernels.motion(5)[3], torch.tensor([0, 0.2, 0.2, 0.2, 0.2, 0.2, 0]))
    rising = kernels.motion(9, 45)
    assert float(rising.flip(1).diagonal().sum()) > 0.5 > 0.2 > float(rising.diagonal().sum())


def test_even_kernels_are_padded():
    torch.testing.assert_close(kernels.normalised(torch.ones(2, 1)), torch.tensor([[0.5], [0.5], [0]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("box:3", "kernel 'box:3' is not known; give gaussian:SIGMA"),
        ("gaussian", "write gaussian:SIGMA, with numbers"),
        ("gaussian:1:2", "write gaussian:SIGMA, with numbers"),
        ("motion:x:3", "write motion:LENGTH:ANGLE, with numbers"),
        ("motion:5:nan", "write motion:LENGTH:ANGLE, with numbers"),
        ("disk:0", "the size is 0.5 to 50 pixels"),
    ],
)
def test_texts_that_are_no_kernels_are_refused(text, message):
    with pytest.raises(RestoreError, match=message):
        kernels.named(text)


# --- the search


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(skimage.data.astronaut()[40:260, 120:340])


@pytest.mark.parametrize("text", ["gaussian:1.6", "disk:3", "motion:9:30"])
def test_a_blur_is_found(photo, text):
    damaged = blurred(lambda rng: kernels.named(text).numpy())(photo, np.random.default_rng(0)).damaged
    found = find_blur(tensor(damaged), noise_of_blurred(tensor(damaged)))
    assert found is not None
    shape, size, *angle = found.split(":")
    assert text.startswith(shape)
    assert float(size) == pytest.approx(float(text.split(":")[1]), rel=0.2)
    if angle:
        assert float(angle[0]) == pytest.approx(30, abs=10)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_sharp_pictures_have_no_blur(name):
    picture = tensor(getattr(skimage.data, name)()[40:296, 60:316])
    assert find_blur(picture, noise_of_blurred(picture)) is None


@pytest.mark.parametrize(("colour", "size"), [(0, (80, 70)), (128, (80, 70)), (255, (3, 2))])
def test_flat_and_tiny_pictures_have_no_blur(colour, size):
    assert find_blur(tensor(np.full((*size, 3), colour, np.uint8)), 0.0) is None


@pytest.mark.parametrize("noise", [0, 1, 2, 5])
def test_the_noise_of_a_blurred_picture(photo, noise):
    damaged = blurred(lambda rng: kernels.gaussian(2.0).numpy(), noise)(photo, np.random.default_rng(0)).damaged
    expected = max(np.hypot(noise, 12**-0.5), 12**-0.5)
    assert noise_of_blurred(tensor(damaged)) * 127.5 == pytest.approx(expected, rel=0.25)
