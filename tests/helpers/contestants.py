"""Cases, pictures and checks for the tests of contestants."""

import numpy as np
import pytest

from bcm_restore.bench.base import Case, Sample, Shape
from bcm_restore.bench.contestants.outputs import outputs
from bcm_restore.errors import RestoreError
from bcm_restore.simulation.degradations import Example, masked

BOX = Case("inpaint", "box", masked(lambda rng, size: np.ones(size, bool)))
HALF = Case("inpaint", "half", BOX.degrade)
SHAPES = [Shape("b", (6, 9)), Shape("a", (6, 9)), Shape("c", (6, 9))]


def noise(seed, height=6, width=9):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def sample(name, picture):
    return Sample(name, Example(picture, picture))


def error_of(function, *arguments):
    """The message of the RestoreError that is raised."""
    with pytest.raises(RestoreError) as caught:
        function(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def check(path, shapes=SHAPES, case=BOX, spec="other"):
    contestant = outputs(f"{spec}={path}", [case])
    contestant.check(case, shapes)
    return contestant
