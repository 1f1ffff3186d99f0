"""The bench's work: every contestant restores every sample; what was done before by an equal one is kept."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..errors import RestoreError
from ..metrics import frechet
from .base import Case, Contestant, Sample
from .measures import Measure
from .memory import peak
from .pictures import Suite
from .store import Record, Store, digest, key

OnResult = Callable[[Record], None]


def check(suite: Suite, contestants: Sequence[Contestant]) -> None:
    """Looks whether all can take part, before anything is computed or written.

    Raises:
        RestoreError: two have one name, or one can't restore what it would have to.
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
    """What became of a case.

    Attributes:
        case: which.
        records: those of each contestant, by its name.
        notes: what went wrong, a line each.
    """

    case: Case
    records: dict[str, list[Record]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Bench:
    """Contestants on the samples of a suite.

    Args:
        suite: cases and pictures.
        contestants: with different names.
        measures: the metrics by name.
        store: where results are kept.
        device: of the models, for their memory.
    """

    def __init__(
        self,
        suite: Suite,
        contestants: Sequence[Contestant],
        measures: dict[str, Measure],
        store: Store,
        device: torch.device,
    ) -> None:
        self.suite, self.contestants, self.store, self.device = suite, contestants, store, device
        self._measures = {name: measure.of for name, measure in measures.items() if measure.of and not measure.missing}
        self._pixels = {
            (case.name, shape.name): shape.size[0] * shape.size[1]
            for case in suite.cases
            for shape in suite.shapes(case)
        }
        self._keys: dict[tuple[str, ...], str] = {}
        self._warm = False

    def entered(self, case: Case) -> list[Contestant]:
        """The contestants that suit a case."""
        return [contestant for contestant in self.contestants if contestant.suits(case)]

    @property
    def total(self) -> int:
        """How many results there will be."""
        return sum(len(self.entered(case)) * len(self.suite.names) for case in self.suite.cases)

    def pixels(self, record: Record) -> int:
        """How many the result has that a record is of."""
        return self._pixels[record.case, record.picture]

    def fid(self, outcome: Outcome, contestant: Contestant) -> float | None:
        """The FID of a contestant's results; None of fewer than two."""
        case, names = outcome.case.name, [record.picture for record in outcome.records[contestant.name]]
        if len(names) < 2:
            return None
        references = (case, *names)
        if references not in self._keys:
            self._keys[references] = frechet.content_key(self._load(case, "clean", names))
        known_by = self._keys[references]
        return frechet.fid(self._load(case, contestant.name, names), self._load(case, "clean", names), known_by)

    def _load(self, case: str, who: str, names: Sequence[str]) -> Iterator[np.ndarray]:
        return (self.store.load(case, who, name) for name in names)

    def run(self, case: Case, on_result: OnResult) -> Outcome:
        """Restores and measures all samples of a case; one that fails is noted and left out."""
        outcome = Outcome(case, {contestant.name: [] for contestant in self.entered(case)})
        for sample in self.suite.samples(case):
            self._keep(case, sample)
            content = digest(sample)
            for contestant in self.entered(case):
                try:
                    record = self._result(case, sample, contestant, key(contestant, content))
                except RestoreError as error:
                    outcome.notes.append(f"{contestant.name}, {sample.name}: {error}")
                    continue
                outcome.records[contestant.name].append(record)
                on_result(record)
        return outcome

    def _keep(self, case: Case, sample: Sample) -> None:
        """Writes what the report shows beside the results."""
        for who, picture in (("clean", sample.example.clean), ("damaged", sample.example.damaged)):
            # a pair of pictures is shown side by side
            flat = picture if picture.ndim == 3 else np.concatenate(list(picture), axis=1)
            if not self.store.holds(case.name, who, sample.name, flat):
                self.store.save(case.name, who, sample.name, flat)

    def _result(self, case: Case, sample: Sample, contestant: Contestant, its_key: str) -> Record:
        found = self.store.find((case.name, contestant.name, sample.name), its_key)
        if found and not self._measures.keys() - found.values.keys():
            return found
        if found:
            seconds, memory = found.seconds, found.peak_memory
            result = self.store.load(case.name, contestant.name, sample.name)
        else:
            # the first evaluation of a process takes longer
            if contestant.nfe and contestant.measured and not self._warm:
                contestant.restore(case, sample)
                self._warm = True
            with peak(self.device) as watched:
                start = time.perf_counter()
                result = contestant.restore(case, sample)
                seconds = time.perf_counter() - start
            memory = watched.bytes
            self.store.save(case.name, contestant.name, sample.name, result)
        values = {name: measure(result, sample.example) for name, measure in self._measures.items()}
        if not contestant.measured:
            seconds = memory = None
        record = Record(its_key, case.name, contestant.name, sample.name, seconds, memory, values)
        self.store.add(record)
        return record
