"""Where the pictures of a run are restored."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from .manifest import Records
from .observer import Observer
from .outcomes import Header
from .recipes.base import Recipe
from .worker import Ticket, Worker, work

Report = Callable[[Ticket], None]


class Executor(Protocol):
    """Restores in this process, in several, or on a cluster, with the same bytes.

    Attributes:
        recipe: for this process, to resolve the run's settings.
        begins: whether outputs are recorded as the run's own before they are written, because their hashes are recorded
            afterwards.
    """

    recipe: Recipe
    begins: bool

    @property
    def header(self) -> Header:
        """The facts that all pictures share, with the devices."""

    def restore(
        self, tickets: Sequence[Ticket], manifests: Mapping[Path, Records], observer: Observer, report: Report
    ) -> Generator[Ticket, None, None]:
        """Restores pictures.

        Args:
            tickets: the pictures.
            manifests: of the folders of outputs, open.
            observer: receives the progress within pictures, and notes.
            report: called with each ticket whose outcome is known; its exceptions end the run.

        Yields:
            Each reported ticket, unless the run is being interrupted.

        Raises:
            RestoreError: the disk is full, or a process died.
        """


class Local:
    """Restores in this process.

    Args:
        recipe: for this process's device.
    """

    begins = False

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @property
    def header(self) -> Header:
        """See `Executor`."""
        return self.recipe.header

    def restore(
        self, tickets: Sequence[Ticket], manifests: Mapping[Path, Records], observer: Observer, report: Report
    ) -> Generator[Ticket, None, None]:
        """See `Executor`."""
        return work(tickets, Worker(self.recipe, manifests), observer, report)


@contextlib.contextmanager
def chosen(recipe: Recipe, pictures: int, observer: Observer) -> Iterator[Executor]:
    """The executor that the settings name.

    Args:
        recipe: how pictures are restored.
        pictures: number of pictures.
        observer: called when a cluster is connected.

    Raises:
        RestoreError: a device is not found, or the cluster does not answer.
    """
    from . import cluster, processes

    settings = recipe.settings
    if settings.engine == "ray" and not settings.dry_run:
        with cluster.connected(settings, pictures, observer) as actors:
            yield cluster.Cluster(recipe, actors)
        return
    devices = ["cpu"] if settings.engine == "ray" else processes.names(settings.device)[:pictures]
    if len(devices) > 1:
        yield processes.Processes(recipe, devices)
    else:
        yield Local(recipe.on(devices[0]))
