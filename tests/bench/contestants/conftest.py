"""The model of normal pixels."""

import pytest
from helpers.solvers import normal_pixels


@pytest.fixture
def exact():
    return normal_pixels()
