"""Converting images of any type to tensors and back."""

import numpy as np
import pytest
import torch
from helpers.kinds import as_array, kinds
from hypothesis import given
from hypothesis import strategies as st

from bcm_restore.errors import RestoreError
from bcm_restore.tasks.arrays import to_tensor


def test_images_of_every_type_survive_the_round_trip(portrait):
    for name, image in kinds(portrait).items():
        tensor, back = to_tensor(image)
        assert tensor.shape[1:] == (3, 128, 128), name
        assert tensor.dtype == torch.float32
        assert tensor.min() >= -1
        assert tensor.max() <= 1
        result = back(tensor)
        assert type(result) is type(image), name
        assert as_array(result).dtype == as_array(image).dtype, name
        assert as_array(result).shape == as_array(image).shape, name
        np.testing.assert_allclose(as_array(result), as_array(image), rtol=0, atol=1e-6, err_msg=name)


@given(st.integers(0, 65535), st.sampled_from([np.uint8, np.uint16]))
def test_every_integer_value_survives_the_round_trip(value, dtype):
    array = np.full((1, 1, 3), value % (np.iinfo(dtype).max + 1), dtype)
    tensor, back = to_tensor(array)
    assert np.array_equal(back(tensor), array)


def test_other_types_and_shapes_are_refused():
    for thing, reason in (
        ("photo.png", "str is not a picture"),
        (np.zeros((4, 4, 4), np.uint8), "remove the alpha channel"),
        (np.zeros((4, 4), np.int64), "pictures of int64"),
        (torch.zeros(4, 4), "not .C, H, W."),
    ):
        with pytest.raises(RestoreError, match=reason):
            to_tensor(thing)
