"""Base classes of the bench: cases, their samples, and contestants that restore samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..simulation.degradations import Degradation, Example


@dataclass(frozen=True)
class Case:
    """A kind of degradation.

    Attributes:
        task: name of the task that undoes it.
        name: unique within the task: "box", "quality-10", "x4".
        degrade: degrades a clean picture.
        multiple: clean pictures are cropped to multiples of this.
        blind: whether the level of the noise is unknown.
        border: pixels that the degradation cuts off on each side.
    """

    task: str
    name: str
    degrade: Degradation
    multiple: int = 1
    blind: bool = False
    border: int = 0


@dataclass(frozen=True, eq=False)
class Sample:
    """A damaged picture of a case.

    Attributes:
        name: of the clean picture, without suffix; unique in the suite.
        example: the damaged picture, the parameters of the degradation, and the clean picture.
    """

    name: str
    example: Example


@dataclass(frozen=True)
class Shape:
    """The name of a sample and the size (height, width) of its result, known before it is made."""

    name: str
    size: tuple[int, int]


class Contestant(ABC):
    """A method that restores damaged pictures.

    Attributes:
        name: unique in a bench: "BCM, NFE 4".
        family: contestants of one family, which differ in NFE, form a curve: "BCM".
        nfe: network evaluations per picture; 0 without a network, None if unknown.
        measured: whether to measure time and memory of `restore`; False where it reads another program's results.
    """

    name: str
    family: str
    nfe: int | None = None
    measured: bool = True

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything that its results depend on besides the sample, as JSON; equal identities share cached results."""

    def suits(self, case: Case) -> bool:
        """Whether it can restore that degradation; otherwise it is left out of the case."""
        return True

    def check(self, case: Case, shapes: Sequence[Shape]) -> None:  # noqa: B027 (most need nothing)
        """Checks, before anything is computed, that it can restore all samples of a case that it suits.

        Raises:
            RestoreError: something is missing or has another size; names it.
        """

    @abstractmethod
    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The restored picture (H, W, 3) uint8, of the clean picture's size.

        Raises:
            RestoreError: the sample cannot be restored.
        """
