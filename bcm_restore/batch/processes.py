"""Several devices for one folder: a process for each, which takes the next picture when it is free."""

import contextlib
import dataclasses
import multiprocessing
import threading
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ..errors import RestoreError, RestoreWarning, describe, portable
from .executors import Report
from .manifest import Records, manifest_of
from .observer import Observer
from .outcomes import Header, Outcome
from .planning import Job
from .recipes.base import Recipe
from .worker import Ticket, Worker, work


def names(device: str) -> list[str]:
    """The devices of "cuda:0,cuda:1" or of "all"; any other name alone.

    Raises:
        RestoreError: one of several is not found.
    """
    if device != "all" and "," not in device:
        return [device]
    import torch

    from ..model import choose_device

    if device == "all":
        return [f"cuda:{n}" for n in range(torch.cuda.device_count())] or ["cpu"]
    found = [name.strip() for name in device.split(",")]
    for name in found:
        choose_device(name)
    return found


class Processes:
    """Restores in a process for each device, with its own model and manifests.

    Args:
        recipe: how pictures are restored.
        devices: of the processes.
    """

    begins = False

    def __init__(self, recipe: Recipe, devices: Sequence[str]) -> None:
        self.recipe, self._devices = recipe.on("cpu"), devices

    @property
    def header(self) -> Header:
        """See `Executor`."""
        return {**self.recipe.header, "device": ",".join(self._devices)}

    def restore(
        self, tickets: Sequence[Ticket], manifests: Mapping[Path, Records], observer: Observer, report: Report
    ) -> Generator[Ticket, None, None]:
        """See `Executor`."""
        self.recipe.preload()
        workers = Workers(self.recipe, self._devices, [ticket.job for ticket in tickets])
        try:
            workers.start()
            while workers:
                yield from workers.receive(observer, report)
        finally:
            workers.stop()
            while workers:  # begun pictures are finished and reported
                with contextlib.suppress(WorkerError):
                    workers.receive(observer, report)


class WorkerError(RestoreError):
    """A process died, or its disk is full."""


class Workers:
    """The running processes of a run.

    Args:
        recipe: how pictures are restored.
        devices: of the processes.
        jobs: the pictures.
    """

    def __init__(self, recipe: Recipe, devices: Sequence[str], jobs: Sequence[Job]) -> None:
        self._recipe, self._devices, self._jobs = recipe, devices, jobs
        self._context = multiprocessing.get_context("spawn")  # a process that has used CUDA cannot be forked
        self._following, self._stopped = self._context.Value("q", 0), self._context.Event()
        self._processes: dict[Connection, BaseProcess] = {}

    def start(self) -> None:
        """Starts a process for each device."""
        for device in self._devices:
            receiver, sender = self._context.Pipe(duplex=False)
            given = (self._jobs, self._recipe.on(device), len(self._devices), self._following, self._stopped, sender)
            process: BaseProcess = self._context.Process(target=_work, args=given, daemon=True)
            process.start()
            sender.close()  # else the end of the process would not end the pipe
            self._processes[receiver] = process

    def __len__(self) -> int:
        return len(self._processes)

    def stop(self) -> None:
        """Asks all processes to end."""
        self._stopped.set()

    def receive(self, observer: Observer, report: Report) -> list[Ticket]:
        """Waits for messages of the processes and passes them on; returns the pictures that are done.

        Raises:
            WorkerError: the run is over.
        """
        done, errors = [], []
        for receiver in wait(list(self._processes)):
            assert isinstance(receiver, Connection)
            try:
                kind, *content = receiver.recv()
            except EOFError:
                process = self._processes.pop(receiver)
                process.join()
                if process.exitcode:
                    status = f"a process ended with status {process.exitcode}"
                    errors.append(WorkerError(f"{status}; the same command resumes the run"))
                continue
            if kind == "done":
                report(*content)
                done += content
            elif kind == "error":
                errors.append(WorkerError(*content))
            else:
                getattr(observer, kind)(*content)
        if errors:
            raise errors[0]
        return done


class Stopped(KeyboardInterrupt):
    """The first process asks this one to end."""


class _Sender(Observer):
    """Sends the reports to the first process, and ends the work on its request."""

    def __init__(self, connection: Connection, stopped: Any) -> None:
        self._connection, self._stopped, self._lock = connection, stopped, threading.Lock()

    def send(self, kind: str, *content: Any) -> None:
        """Sends a message to `Workers.receive`."""
        with self._lock:
            self._connection.send((kind, *content))

    def progress(self, unit: str, done: int, total: int) -> None:
        if self._stopped.is_set():
            raise Stopped
        self.send("progress", unit, done, total)

    def note(self, text: str) -> None:
        self.send("note", text)

    def report(self, ticket: Ticket) -> None:
        """A picture is done."""
        self.send("done", dataclasses.replace(ticket, error=ticket.error and portable(ticket.error)))


def _work(
    jobs: Sequence[Job], recipe: Recipe, count: int, following: Any, stopped: Any, connection: Connection
) -> None:
    """The work of one of `count` processes."""
    sender = _Sender(connection, stopped)
    _note_warnings(sender)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), contextlib.ExitStack() as folders:
        if recipe.settings.device == "cpu":
            import torch

            torch.set_num_threads(max(torch.get_num_threads() // count, 1))
        try:
            roots = dict.fromkeys(job.root for job in jobs if job.root)
            manifests = {root: folders.enter_context(manifest_of(root).opened(join=True)) for root in roots}
            for _ in work(_taken(jobs, following, stopped), Worker(recipe, manifests), sender, sender.report):
                pass
        except BrokenPipeError:
            raise
        except Exception as error:
            sender.send("error", describe(error))


def _taken(jobs: Sequence[Job], following: Any, stopped: Any) -> Iterator[Ticket]:
    """The pictures that this process takes, one after the other."""
    while not stopped.is_set():
        with following:
            number, following.value = following.value, following.value + 1
        if number >= len(jobs):
            return
        yield Ticket(number, jobs[number], Outcome(str(jobs[number].source)))


def _note_warnings(observer: Observer) -> None:
    """Turns the package's warnings in this process into notes."""
    show = warnings.showwarning

    def showwarning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, RestoreWarning):
            observer.note(f"warning: {message}")
        else:
            show(message, category, *place, **more)

    warnings.showwarning = showwarning
