"""Several devices for one folder: a process for each, which takes the next picture when it is ready for it."""

import contextlib
import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import RestoreError
from . import printing
from .inputs import Job
from .manifest import manifest_of
from .report import Log, Outcome
from .worker import Steps, Ticket, Worker, work


def names(device: str) -> list[str]:
    """The devices of "cuda:0,cuda:1" or of "all"; any other name alone.

    Raises:
        RestoreError: one of several is not there.
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


def share(jobs: Sequence[Job], steps: Steps, several: Sequence[str], log: Log) -> None:
    """Restores pictures on several devices.

    Args:
        jobs: the pictures; the manifests of their folders are open.
        steps: how they are restored.
        several: the devices.
        log: told of each picture.

    Raises:
        RestoreError: the disk is full, or a process came to an end.
    """
    context = multiprocessing.get_context("spawn")  # what has used CUDA can't be forked
    following = context.Value("q", 0)
    crew: dict[Connection, BaseProcess] = {}
    for device in several:
        receiver, sender = context.Pipe(duplex=False)
        process: BaseProcess = context.Process(
            target=_member, args=(jobs, steps.on(device), len(several), following, sender), daemon=True
        )
        process.start()
        sender.close()  # else the end of the process would not end the pipe
        crew[receiver] = process
    try:
        while crew:
            if errors := _listen(crew, log):
                raise errors[0]
    finally:
        for process in crew.values():
            process.terminate()
        while crew:  # what was begun is finished, and told
            _listen(crew, log)


def _listen(crew: dict[Connection, BaseProcess], log: Log) -> list[RestoreError]:
    """Passes on what the processes tell, and returns what ends the run; processes that end leave the crew."""
    errors = []
    for receiver in wait(list(crew)):
        assert isinstance(receiver, Connection)
        try:
            told = receiver.recv()
        except EOFError:
            process = crew.pop(receiver)
            process.join()
            if process.exitcode:
                status = f"a process ended with status {process.exitcode}"
                errors.append(RestoreError(f"{status}; the same command goes on from there"))
            continue
        if isinstance(told, RestoreError):
            errors.append(told)
        elif isinstance(told[-1], Outcome):
            log.done(*told)
        else:
            log.progress(*told)
    return errors


def _member(jobs: Sequence[Job], steps: Steps, members: int, following: Any, sender: Connection) -> None:
    """The work of one process."""
    import torch

    from . import stop_when_terminated

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, and the first one tells the others
    stop_when_terminated()
    warnings.showwarning = printing.warning
    if steps.options.device == "cpu":
        torch.set_num_threads(max(torch.get_num_threads() // members, 1))

    def tickets() -> Iterator[Ticket]:
        while True:
            with following:
                number, following.value = following.value, following.value + 1
            if number >= len(jobs):
                return
            yield Ticket(number, jobs[number], Outcome(str(jobs[number].source)))

    def report(ticket: Ticket) -> None:
        if ticket.error and steps.options.debug:
            printing.trace(ticket.error)
        sender.send((ticket.number, ticket.outcome))

    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), contextlib.ExitStack() as folders:
        try:
            roots = dict.fromkeys(job.root for job in jobs if job.root)
            manifests = {root: folders.enter_context(manifest_of(root).opened(join=True)) for root in roots}
            work(tickets(), Worker(steps, manifests), lambda *step: sender.send(step), report)
        except BrokenPipeError:
            raise
        except Exception as error:
            sender.send(RestoreError(printing.describe(error)))
