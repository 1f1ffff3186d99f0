import torch

from bcm_restore.preconditioning import input_scale, mean_scales, traverse_scales

T = torch.tensor([0.002, 0.1, 0.5, 80.0], dtype=torch.float64)


def test_nothing_moves_where_the_levels_are_the_same():
    c_skip, c_out = traverse_scales(T, T, 0.5)
    torch.testing.assert_close(c_skip, torch.ones_like(T))
    assert not c_out.any()


def test_the_mean_is_the_traversal_to_level_zero():
    for found, expected in zip(mean_scales(T, 0.5), traverse_scales(T, torch.zeros_like(T), 0.5), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_network_sees_images_of_variance_one():
    torch.testing.assert_close(input_scale(T, 0.5) ** 2 * (T**2 + 0.25), torch.ones_like(T))
