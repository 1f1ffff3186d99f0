"""A folder on a Ray cluster: pictures are read, restored and written by its processes, and reported here."""

import contextlib
import dataclasses
import logging
import os
import socket
import warnings
from collections import defaultdict
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import DiskFull, RestoreError, portable
from .executors import Report
from .manifest import Record, Records
from .observer import Observer
from .outcomes import Header
from .recipes.base import Recipe
from .settings import Settings
from .worker import Ticket, Worker

if TYPE_CHECKING:
    import numpy as np

CONNECT = 5.0  # seconds to wait for an address
TOGETHER = 8  # pictures that an actor with a GPU takes at a time
BLOCKS = 10_000  # most blocks of the dataset, each of one picture where that is enough


@dataclasses.dataclass(frozen=True)
class Actors:
    """The actors that a cluster runs at once.

    Attributes:
        count: number of actors.
        device: of each: "cpu" or "cuda".
    """

    count: int
    device: str

    def __str__(self) -> str:
        return f"{self.count} x {self.device}"


def check(settings: Settings) -> None:
    """Refuses settings that exclude each other.

    Raises:
        RestoreError: names them.
    """
    if settings.engine == "local":
        if settings.address:
            raise RestoreError(f"--address {settings.address}: an address needs --engine ray; give both")
        return
    if settings.join:
        raise RestoreError("--engine ray and --join exclude each other; the cluster shares the work itself")
    if settings.device not in ("auto", "cpu", "cuda"):
        raise RestoreError(f"--device {settings.device}: Ray chooses the devices; give auto, cpu or cuda")


def silence() -> None:
    """Silences Ray, if it has not been imported yet."""
    for name, value in (
        ("RAY_USAGE_STATS_ENABLED", "0"),
        ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"),  # else it warns that this will change
        ("RAY_BACKEND_LOG_LEVEL", "fatal"),  # else it warns of actors that may not be restarted
        ("RAY_DEDUP_LOGS_SKIP_REGEX", "."),  # else it prints on stdout that a process has died
    ):
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def connected(settings: Settings, pictures: int, observer: Observer) -> Iterator[Actors]:
    """The cluster at `address`, at $RAY_ADDRESS, or a local one that lasts as long as the block.

    Args:
        settings: of the run.
        pictures: number of pictures.
        observer: called when the cluster is connected.

    Raises:
        RestoreError: Ray is not installed, the cluster does not answer, or it has no GPU and one was requested.
    """
    silence()
    from ..images.silenced import libraries_silenced

    try:
        import ray
        import ray.data
    except ImportError:
        raise RestoreError('--engine ray needs Ray; pip install "bcm-restore[ray]"') from None
    ours = not ray.is_initialized()
    try:
        if ours:
            with libraries_silenced():  # its libraries and servers
                _connect(settings.address or os.environ.get("RAY_ADDRESS") or "local")
            observer.connected()
        yield _actors(settings.device, pictures)
    finally:
        if ours:
            ray.shutdown()


def _connect(address: str) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        ray.init(address, include_dashboard=False, **quiet)
        return
    try:
        host, separator, port = address.removeprefix("ray://").rpartition(":")
        if separator:
            _greet(host.strip("[]"), int(port))
        ray.init(address, **quiet)
    except Exception as error:
        raise RestoreError(f"--address {address}: no Ray cluster answers there ({_reason(error)})") from error
    try:
        found = ray.get(ray.remote(_version).options(num_cpus=0).remote())
    except ray.exceptions.RayError:
        found = "none"
    if found != __version__:
        raise RestoreError(f"--address {address}: needs bcm-restore {__version__} there (found {found}); install it")


def _version() -> str:
    return __version__


def _greet(host: str, port: int) -> None:
    """Raises OSError if no Ray server answers; Ray itself would try for minutes and abort."""
    settings = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # an empty SETTINGS frame of HTTP/2, answered by the server's
    with socket.create_connection((host, port), CONNECT) as line:
        if os.environ.get("RAY_USE_TLS") == "1":
            return
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        if line.recv(len(settings))[3:4] != settings[3:4]:
            raise OSError("something else listens there")


def _actors(device: str, pictures: int) -> Actors:
    import ray

    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    if device == "cuda" and not gpus:
        raise RestoreError("--device cuda: the cluster has no GPU; use auto or cpu")
    kind = "cuda" if gpus and device != "cpu" else "cpu"
    most = gpus if kind == "cuda" else int(resources.get("CPU", 1))
    return Actors(max(min(most, pictures), 1), kind)


@dataclasses.dataclass
class Item:
    """A picture on its way through the cluster.

    Attributes:
        ticket: the picture, its outcome, and its error if there was one.
        record: the known record of its output.
        content: the result of the last stage, or its error.
        notes: for the observer.
    """

    ticket: Ticket
    record: Record | None
    content: Any = None
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Stages:
    """The stages that items pass through, each in its own processes.

    Attributes:
        recipe: how pictures are restored.
        fingerprint: that of the recipe.
        folder: base of relative paths.
    """

    recipe: Recipe
    fingerprint: Mapping[str, Any]
    folder: str

    def worker(self, item: Item | None = None) -> tuple[Worker, Records | None]:
        """The worker for an item, and the records of the item's output."""
        with contextlib.suppress(OSError):  # if all paths are URLs, the folder need not exist
            os.chdir(self.folder)
        root = item.ticket.job.root if item else None
        if item is None or root is None:
            return Worker(self.recipe, {}, self.fingerprint), None
        known = Records(root, [item.record] if item.record else [])
        return Worker(self.recipe, {root: known}, self.fingerprint), known

    def read(self, row: dict[str, Item]) -> dict[str, Item]:
        """The first stage: reads the file."""
        item = row["item"]
        worker, _ = self.worker(item)
        item.content = _attempt(lambda: worker.read(item.ticket))
        return row

    def write(self, row: dict[str, Item]) -> dict[str, Item]:
        """The last stage: writes the output, and returns its record."""
        item, made = row["item"], row["item"].content
        worker, known = self.worker(item)
        error = made if isinstance(made, Exception) else _attempt(lambda: worker.write(item.ticket, made))
        with contextlib.suppress(DiskFull):  # it is kept as the ticket's error
            worker.finish(item.ticket, error)
        item.record = known.find(item.ticket.job.target) if known else None
        item.content = None
        return row


class Restorer:
    """The stage in between: an actor with its own model.

    Args:
        stages: of the run.
    """

    def __init__(self, stages: Stages) -> None:
        self._worker, _ = stages.worker()

    def __call__(self, batch: dict[str, "np.ndarray"]) -> dict[str, "np.ndarray"]:
        """Restores items, similar ones together."""
        groups: dict[tuple[Hashable, int], list[Item]] = defaultdict(list)
        for item in batch["item"]:
            if not isinstance(item.content, Exception):
                groups[self._worker.alike(item.content)].append(item)
        for (_, most), items in groups.items():
            for start in range(0, len(items), most):
                self._restore(items[start : start + most])
        return batch

    def _restore(self, items: Sequence[Item]) -> None:
        notes = _Notes()
        made = self._worker.restore([item.ticket for item in items], [item.content for item in items], notes)
        for item, content in zip(items, made, strict=True):
            item.content = portable(content) if isinstance(content, Exception) else content
        items[0].notes += notes.lines


class _Notes(Observer):
    """Keeps notes until the picture is returned."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


class Cluster:
    """Restores on the connected Ray cluster; this process only resolves the settings.

    Args:
        recipe: how pictures are restored.
        actors: of the cluster.
    """

    begins = True

    def __init__(self, recipe: Recipe, actors: Actors) -> None:
        self.recipe, self._recipe, self._actors = recipe.on("cpu"), recipe.on(actors.device), actors

    @property
    def header(self) -> Header:
        """See `Executor`."""
        return {**self.recipe.header, "device": str(self._actors)}

    def restore(
        self, tickets: Sequence[Ticket], manifests: Mapping[Path, Records], observer: Observer, report: Report
    ) -> Generator[Ticket, None, None]:
        """See `Executor`."""
        import ray

        self._recipe.preload()
        stages = Stages(self._recipe, self.recipe.fingerprint(), str(Path.cwd()))
        sent = {ticket.number: Item(ticket, _known(ticket, manifests)) for ticket in tickets}
        try:
            for item in _returning(sent, stages, self._actors):
                ticket, root = item.ticket, item.ticket.job.root
                if root and item.record and item.record != sent[ticket.number].record:
                    manifests[root].add(item.record)
                if isinstance(ticket.error, DiskFull):
                    raise ticket.error
                for text in item.notes:
                    observer.note(text)
                del sent[ticket.number]
                report(ticket)
                yield ticket
        except ray.exceptions.RayError as error:
            raise RestoreError(f"Ray: {_reason(error)}; the same command resumes the run") from error
        for item in sent.values():
            ticket = item.ticket
            ticket.error = RestoreError(f"{ticket.job.source}: its process died, perhaps for lack of memory; try again")
            ticket.outcome.fail(ticket.error)
            report(ticket)
            yield ticket


def _known(ticket: Ticket, manifests: Mapping[Path, Records]) -> Record | None:
    """The record of a picture's output."""
    return manifests[ticket.job.root].find(ticket.job.target) if ticket.job.root else None


def _returning(sent: Mapping[int, Item], stages: Stages, actors: Actors) -> Iterator[Item]:
    """The items that have passed all stages; those lost with a crashed actor are sent again, one at a time."""
    for alone in (False, True):
        if sent:
            batches = _flow(list(sent.values()), stages, actors, alone).iter_batches(batch_size=1, prefetch_batches=0)
            yield from (item for batch in batches for item in batch["item"])


def _flow(items: Sequence[Item], stages: Stages, actors: Actors, alone: bool) -> Any:
    """The dataset of items that have passed all stages; `alone`: an actor gets one at a time."""
    from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy, from_items

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a process that dies with its pictures does not end the run
    on_gpu = actors.device == "cuda"
    # the actors may hold all CPUs: reading and writing would wait for ever if they needed one
    files: dict[str, Any] = {} if on_gpu else {"num_cpus": 0, "compute": TaskPoolStrategy(size=actors.count)}
    device: dict[str, Any] = {"num_gpus": 1} if on_gpu else {"num_cpus": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how `max_task_retries` is given
        return (
            from_items([{"item": item} for item in items], override_num_blocks=min(len(items), BLOCKS))
            .map(stages.read, **files)
            .map_batches(
                Restorer,
                fn_constructor_args=(stages,),
                batch_size=TOGETHER if on_gpu and not alone else 1,
                compute=ActorPoolStrategy(
                    size=min(actors.count, len(items)), max_tasks_in_flight_per_actor=1 if alone else None
                ),
                max_task_retries=0,  # `_returning` retries
                **device,
            )
            .map(stages.write, **files)
        )


def _reason(error: Exception) -> str:
    """The first line of the error."""
    return getattr(error, "strerror", None) or str(error).strip().partition("\n")[0] or type(error).__name__


def _attempt(step: Callable[[], Any]) -> Any:
    """The result of the step, or its error."""
    try:
        return step()
    except Exception as error:
        return portable(error)
