"""What the bench is made of: cases, samples of them, and contestants that restore samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..simulation.degradations import Degradation, Example


@dataclass(frozen=True)
class Case:
    """A kind of damage.

    Attributes:
        task: name of the task that undoes it.
        name: unique within the task: "box", "quality-10", "x4".
        degrade: does it to a clean picture.
        multiple: clean pictures are cut to sides that are multiples of it.
    """

    task: str
    name: str
    degrade: Degradation
    multiple: int = 1


@dataclass(frozen=True, eq=False)
class Sample:
    """A damaged picture of a case.

    Attributes:
        name: of the clean picture, without suffix, unique among the pictures.
        example: the damaged picture, what is known of the damage, and the clean one.
    """

    name: str
    example: Example


@dataclass(frozen=True)
class Shape:
    """What is known of a sample before it is made: its name, and height and width of the result."""

    name: str
    size: tuple[int, int]


class Contestant(ABC):
    """A way to restore damaged pictures.

    Attributes:
        name: unique in a bench: "BCM, NFE 4".
        family: contestants of one family that differ in their NFE are one curve: "BCM".
        nfe: network evaluations a picture; 0 without a network, None where it is not known.
        measured: whether `restore` is what takes the time and memory; not so where it reads what another program did.
    """

    name: str
    family: str
    nfe: int | None = None
    measured: bool = True

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that its results depend on besides the sample, as JSON: what was restored by an equal one is kept."""

    def suits(self, case: Case) -> bool:
        """Whether it can do something about that damage; else the case goes on without it."""
        return True

    def check(self, case: Case, shapes: Sequence[Shape]) -> None:  # noqa: B027 (most need nothing)
        """Looks whether it can restore all samples of a case it suits, before anything is computed.

        Raises:
            RestoreError: something is missing or has another size; names it.
        """

    @abstractmethod
    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The restored picture (H, W, 3) uint8, as large as the clean one.

        Raises:
            RestoreError: it can't be restored.
        """
