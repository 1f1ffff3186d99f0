"""The smooth fill, the first estimate of inpainting."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.fill import MARGIN, clusters, smooth_fill


def test_fill_continues_a_slope_and_keeps_known_pixels():
    rows, columns = np.mgrid[:40, :60].astype(np.float32)
    plane = np.stack([rows / 40, columns / 60, (rows + columns) / 100], -1)
    hole = np.zeros((40, 60), bool)
    hole[15:25, 20:40] = True
    filled = smooth_fill(np.where(hole[..., None], 9, plane).astype(np.float32), hole)
    assert np.array_equal(filled[~hole], plane[~hole])
    np.testing.assert_allclose(filled, plane, atol=2e-3)


def test_fill_minimises_its_energy():
    """Against a dense solution of the same least-squares problem."""
    rng = np.random.default_rng(0)
    height, width = 9, 11
    image, hole = rng.random((height, width, 3)).astype(np.float32), rng.random((height, width)) < 0.4
    n = height * width
    laplacian = np.zeros((n, n))
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    laplacian[y * width + x, (y + dy) * width + x + dx] += 1
                    laplacian[y * width + x, y * width + x] -= 1
    energy = laplacian @ laplacian - laplacian
    free, known = hole.ravel(), image.reshape(n, 3)
    solution = np.linalg.solve(energy[np.ix_(free, free)], -energy[np.ix_(free, ~free)] @ known[~free])
    solution = solution.clip(known[~free].min(0), known[~free].max(0))
    np.testing.assert_allclose(smooth_fill(image, hole)[hole], solution, atol=5e-3)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 0.99), st.integers(0, 99))
def test_fill_of_any_size_stays_within_the_known_range(height, width, share, seed):
    rng = np.random.default_rng(seed)
    image, hole = rng.random((height, width, 3)).astype(np.float32), rng.random((height, width)) < share
    hole[rng.integers(height), rng.integers(width)] = False
    filled = smooth_fill(image, hole)
    assert np.array_equal(filled[~hole], image[~hole])
    assert (filled >= image[~hole].min(0) - 1e-6).all()
    assert (filled <= image[~hole].max(0) + 1e-6).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(0, 12), st.integers(MARGIN, 40), st.integers(0, 99))
def test_clusters_are_disjoint_and_contain_all_within_reach(height, width, count, reach, seed):
    rng = np.random.default_rng(seed)
    hole = np.zeros((height, width), bool)
    hole[rng.integers(height, size=count), rng.integers(width, size=count)] = True
    times = np.zeros((height, width), int)
    for window in clusters(hole, reach):
        assert hole[window].any()
        times[window] += 1
    assert times.max(initial=0) <= 1
    for y, x in np.argwhere(hole):
        assert times[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1].all()


def test_a_hole_is_filled_as_if_there_were_no_other():
    rng = np.random.default_rng(0)
    image, holes = rng.random((90, 120, 3)).astype(np.float32), np.zeros((2, 90, 120), bool)
    holes[0, 10:30, 10:20] = holes[0, 35, 30] = holes[1, 70:, 90:110] = True
    both = smooth_fill(image, holes.any(0))
    for hole in holes:
        assert np.array_equal(smooth_fill(image, hole)[hole], both[hole])
