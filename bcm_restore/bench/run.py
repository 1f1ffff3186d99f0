"""Runs a bench: every contestant restores every sample; results of earlier runs are reused."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from .. import metrics
from ..errors import RestoreError
from ..metrics import frechet
from .base import Case, Contestant, Sample
from .measures import Measure
from .memory import peak
from .pictures import Suite
from .store import Record, ResultStore, digest, key

OnResult = Callable[[Record], None]


def check(suite: Suite, contestants: Sequence[Contestant]) -> None:
    """Checks all contestants, before anything is computed or written.

    Raises:
        RestoreError: two share a name, or one cannot restore a case that it suits.
    """
    names = [contestant.name for contestant in contestants]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RestoreError(f"two contestants are called '{twice}'; give one of them another name")
    for case in suite.cases:
        for contestant in contestants:
            if contestant.suits(case):
                contestant.check(case, suite.shapes(case))


@dataclass
class Outcome:
    """The results of a case.

    Attributes:
        case: the case.
        records: the records of each contestant, by its name.
        notes: one line per failed sample.
    """

    case: Case
    records: dict[str, list[Record]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Bench:
    """Runs contestants on the samples of a suite.

    Args:
        suite: cases and pictures.
        contestants: with unique names.
        measures: the metrics by name.
        store: keeps the results.
        device: the models' device, to measure its memory.
    """

    def __init__(
        self,
        suite: Suite,
        contestants: Sequence[Contestant],
        measures: dict[str, Measure],
        store: ResultStore,
        device: torch.device,
    ) -> None:
        self.suite, self.contestants, self.store, self.device = suite, contestants, store, device
        self._measures = {name: m.function for name, m in measures.items() if m.function and not m.missing}
        self._pixels = {
            (case.name, shape.name): shape.size[0] * shape.size[1]
            for case in suite.cases
            for shape in suite.shapes(case)
        }
        self._keys: dict[tuple[str, ...], str] = {}
        self._warm = False

    def participants(self, case: Case) -> list[Contestant]:
        """The contestants that suit a case."""
        return [contestant for contestant in self.contestants if contestant.suits(case)]

    @property
    def total(self) -> int:
        """The number of results."""
        return sum(len(self.participants(case)) * len(self.suite.names) for case in self.suite.cases)

    def pixels(self, record: Record) -> int:
        """The number of pixels of a record's result."""
        return self._pixels[record.case, record.picture]

    def fid(self, outcome: Outcome, contestant: Contestant) -> float | None:
        """The FID of a contestant's results; None for fewer than two."""
        case, names = outcome.case.name, [record.picture for record in outcome.records[contestant.name]]
        if len(names) < 2:
            return None
        references = (case, *names)
        if references not in self._keys:
            self._keys[references] = frechet.content_key(self._load(case, "clean", names))
        reference_key = self._keys[references]
        return frechet.fid(self._load(case, contestant.name, names), self._load(case, "clean", names), reference_key)

    def sliced_wasserstein(self, outcome: Outcome, contestant: Contestant) -> float | None:
        """The sliced Wasserstein distance of a contestant's results; None if there are none."""
        case, names = outcome.case.name, [record.picture for record in outcome.records[contestant.name]]
        if not names:
            return None
        return metrics.sliced_wasserstein(self._load(case, contestant.name, names), self._load(case, "clean", names))

    def _load(self, case: str, source: str, names: Sequence[str]) -> Iterator[np.ndarray]:
        return (self.store.load(case, source, name) for name in names)

    def run(self, case: Case, on_result: OnResult) -> Outcome:
        """Restores and measures all samples of a case; calls `on_result` with each record, notes failed samples."""
        outcome = Outcome(case, {contestant.name: [] for contestant in self.participants(case)})
        for sample in self.suite.samples(case):
            self._save_references(case, sample)
            content = digest(sample)
            for contestant in self.participants(case):
                try:
                    record = self._result(case, sample, contestant, key(contestant, content))
                except RestoreError as error:
                    outcome.notes.append(f"{contestant.name}, {sample.name}: {error}")
                    continue
                outcome.records[contestant.name].append(record)
                on_result(record)
        return outcome

    def _save_references(self, case: Case, sample: Sample) -> None:
        """Writes the clean and the damaged picture, for the report."""
        for source, picture in (("clean", sample.example.clean), ("damaged", sample.example.damaged)):
            # a pair of pictures is shown side by side
            flat = picture if picture.ndim == 3 else np.concatenate(list(picture), axis=1)
            if not self.store.holds(case.name, source, sample.name, flat):
                self.store.save(case.name, source, sample.name, flat)

    def _result(self, case: Case, sample: Sample, contestant: Contestant, result_key: str) -> Record:
        found = self.store.find((case.name, contestant.name, sample.name), result_key)
        if found and not self._measures.keys() - found.values.keys():
            return found
        if found:
            seconds, memory = found.seconds, found.peak_memory
            result = self.store.load(case.name, contestant.name, sample.name)
        else:
            # a process's first evaluation is slower
            if contestant.nfe and contestant.measured and not self._warm:
                contestant.restore(case, sample)
                self._warm = True
            with peak(self.device) as peak_memory:
                start = time.perf_counter()
                result = contestant.restore(case, sample)
                seconds = time.perf_counter() - start
            memory = peak_memory.bytes
            self.store.save(case.name, contestant.name, sample.name, result)
        values = {name: measure(result, sample.example) for name, measure in self._measures.items()}
        if not contestant.measured:
            seconds = memory = None
        record = Record(result_key, case.name, contestant.name, sample.name, seconds, memory, values)
        self.store.add(record)
        return record
