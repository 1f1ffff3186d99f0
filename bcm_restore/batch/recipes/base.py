"""How a task restores files: the inputs that it reads besides the pixels, and its results."""

import contextlib
import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import NothingToRestore
from .. import engine
from ..engine import Engine
from ..masks import MaskFile
from ..observer import Evaluations, Observer
from ..outcomes import Header
from ..planning import Naming
from ..settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...images import Picture, Timing
    from ...model import BCM
    from ...tasks import Restoration


@dataclasses.dataclass(frozen=True)
class PageInfo:
    """The pages of a file that has several.

    Attributes:
        count: number of pages.
        remark: on pages that are left out.
        timing: of an animation.
    """

    count: int
    remark: str
    timing: "Timing | None"


@dataclasses.dataclass(frozen=True)
class Result:
    """The result for a picture.

    Attributes:
        before, after: the picture, upright.
        restoration: how it was restored; None if there was nothing to do.
        remark: why there was nothing to do, or a note on the input.
        mse: mean squared error of a reconstruction.
        more: the further pages, upright.
        pages: of the file, if it has several.
    """

    before: "Picture"
    after: "Picture"
    restoration: "Restoration | None" = None
    remark: str = ""
    mse: float | None = None
    more: "Sequence[Picture]" = ()
    pages: PageInfo | None = None


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A picture that has been read.

    Attributes:
        source: its file.
        picture: as the task takes it.
        inputs: the task's other inputs.
        remark: why there is nothing to do, if so.
        found: a note on its content.
        more: the further pages.
        pages: of the file, if it has several.
    """

    source: Path
    picture: "Picture"
    inputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    remark: str = ""
    found: str = ""
    more: "Sequence[Loaded]" = ()
    pages: PageInfo | None = None


@dataclasses.dataclass(kw_only=True)
class Recipe(ABC):
    """How pictures in files are restored. It can be sent to other processes, which load their own models.

    Attributes:
        settings: of the run.
    """

    settings: Settings

    def on(self, device: str) -> "Self":
        """The same recipe on another device."""
        return dataclasses.replace(self, settings=dataclasses.replace(self.settings, device=device))

    @property
    @abstractmethod
    def naming(self) -> Naming:
        """How outputs are named, and whose they are."""

    @property
    def apart(self) -> list[Path]:
        """Files and folders that are neither inputs nor to be overwritten: masks."""
        return []

    @property
    @abstractmethod
    def header(self) -> Header:
        """The facts that all pictures share; checks that the settings are valid.

        Raises:
            RestoreError: something that they name is not found or not valid.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """All that results depend on besides the files, with "task", "model" (SHA-256 of its file) and "seed"."""

    def preload(self) -> None:  # noqa: B027
        """Reads the files that all pictures share, to be sent to other processes with the recipe."""

    def mask(self, source: Path) -> MaskFile | None:
        """The mask of a picture, if it has its own file."""
        return None

    def pixels(self, data: bytes) -> int:
        """Pixels of the result, as the bytes of the picture's file declare them; 0 if they do not."""
        from ...images import declared_pixels

        return declared_pixels(data)

    @abstractmethod
    def read(self, source: Path, data: bytes, mask: MaskFile | None) -> Loaded:
        """Reads the file; called in any thread.

        Args:
            source: the file.
            data: its bytes, or those of one of its pages.
            mask: its mask, from `mask`.

        Raises:
            RestoreError: it is not a picture, or lacks what the task needs.
        """

    @abstractmethod
    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """A key, equal for pictures that can be restored together, and the most of them."""

    @abstractmethod
    def restore(self, several: Sequence[Loaded], observer: Observer) -> list[Result]:
        """Restores pictures that are alike.

        Raises:
            NothingToRestore: there is nothing to do in one of them.
            RestoreError: one cannot be restored.
        """


@dataclasses.dataclass(kw_only=True)
class TaskRecipe(Recipe):
    """How a task restores pictures in files.

    Attributes:
        task: its name.
        nothing: the message for a picture in which the task finds nothing to restore, with the way out.
        scale: scale factor of the results.
    """

    nothing: ClassVar[str] = ""
    task: str
    scale: int = 1

    @functools.cached_property
    def engine(self) -> Engine:
        """The task with its model, loaded at first use."""
        return engine.prepare(self.task, self.settings)

    def use(self, model: "BCM") -> None:
        """Restores with a model that is already loaded, by the settings of the recipe.

        Raises:
            RestoreError: the settings name a scheme or an NFE that the task does not have.
        """
        self.engine = engine.prepare(self.task, self.settings, model)

    @property
    def header(self) -> Header:
        """See `Recipe`."""
        return self.engine.header

    def fingerprint(self) -> dict[str, Any]:
        """See `Recipe`."""
        return self.engine.fingerprint()

    def read(self, source: Path, data: bytes, mask: MaskFile | None) -> Loaded:
        """See `Recipe`; the picture and what `load` adds."""
        from ... import images

        picture = images.read(source, max_pixels=self.settings.max_pixels, data=data)
        return self.load(source, picture, mask, picture)

    @abstractmethod
    def load(self, source: Path, picture: "Picture", mask: MaskFile | None, original: "Picture") -> Loaded:
        """A picture whose file has nothing else for the task, or that other tasks have already changed.

        Args:
            source: its file, for messages.
            picture: upright.
            mask: the mask, from `mask`.
            original: the picture in the file, upright.

        Raises:
            RestoreError: it lacks what the task needs.
        """

    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """Pictures of one size, as many as the model evaluates at once."""
        size = height, width = loaded.picture.size
        return size, self.engine.model.at_once(height * self.scale, width * self.scale)

    def restore(self, several: Sequence[Loaded], observer: Observer) -> list[Result]:
        """See `Recipe`."""
        from ...tasks.transparency import fill_hidden

        pictures = [fill_hidden(one.picture.pixels, one.picture.alpha, one.inputs.get("mask")) for one in several]
        with self.named(several[0].source):
            made = self.run([(pixels, one.inputs) for pixels, one in zip(pictures, several, strict=True)], observer)
        return [
            dataclasses.replace(self.result(one.picture, restoration), remark=one.found)
            for one, restoration in zip(several, made, strict=True)
        ]

    @contextlib.contextmanager
    def named(self, source: Path) -> Iterator[None]:
        """Names the file in which nothing was found to restore, and says `nothing`."""
        try:
            yield
        except NothingToRestore:
            if not self.nothing:
                raise
            raise NothingToRestore(f"{source}: {self.nothing}") from None

    def run(self, given: Sequence[tuple[Any, dict[str, Any]]], observer: Observer) -> "list[Restoration]":
        """Restores images of one size, each with its inputs."""
        images, inputs = zip(*given, strict=True)
        return self.engine.task.run_together(images, inputs, progress=Evaluations(observer), **self.engine.run_kwargs)

    def result(self, picture: "Picture", restoration: "Restoration") -> Result:
        """The result for the picture, upright."""
        return Result(picture.upright(), picture.with_pixels(restoration.image).upright(), restoration)
