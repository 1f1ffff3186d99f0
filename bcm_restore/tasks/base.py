"""What a task is: a degradation operator, a first estimate, and default schemes."""

import dataclasses
import functools
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import package_data, schemes, weights
from ..errors import RestoreError, RestoreWarning
from ..large import BandImage, MemoryImage
from ..model import BCM, Label, Noise
from ..operators import Operator, as_operator
from ..schemes import Progress, Scheme, Setting, State
from .arguments import check_names, dealt, whole
from .arrays import AnyImage, Back, check_kind, check_values, to_tensor
from .inputs import Input
from .transparency import without_hidden

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NFES = (1, 2, 3, 4, 8)  # what tasks have default schemes for
DEFAULT_NFE = 4


@dataclass
class Problem:
    """One damaged batch, ready for a scheme.

    Attributes:
        operator: the degradation.
        y: what was measured, in the operator's own shape.
        x: (B, 3, H, W) in [-1, 1], the first estimate.
        t0: level of the first estimate: how wrong it is, as the standard deviation of noise.
        case: which of the task's default schemes suit it.
        labels: (B,) or (1,) int64, classes of the images for models that know classes.
        remark: what was found out about the damage.
    """

    operator: Operator
    y: Any
    x: Tensor
    t0: float = 0.0
    case: str = "any"
    labels: Tensor | None = None
    remark: str = ""


@dataclass
class Restoration:
    """A restored picture and how it came about.

    Attributes:
        image: the restored picture, of the kind that was given.
        scheme: what was run.
        nfe: network evaluations that it took.
        case: which of the task's default schemes suited it.
        model: name of the model.
        remark: what was found out about the damage, if it is worth saying.
    """

    image: Any
    scheme: Scheme
    nfe: int
    case: str
    model: str
    remark: str = ""


@dataclass(frozen=True)
class RunOptions:
    """How a picture is restored: see `Task.run`."""

    nfe: int
    scheme: str | Scheme | None
    model: BCM
    label: Label | None
    seed: int
    progress: Progress | None


Made = TypeVar("Made")
AnyBands = TypeVar("AnyBands", bound=BandImage)


def or_on_cpu(run: Callable[..., Made]) -> Callable[..., Made]:
    """`Task.run` or its like, from its start on the CPU if a GPU's memory does not do: the same noise, in float32."""

    @functools.wraps(run)
    def run_somewhere(self: "Task", *given: Any, model: BCM | str | Path | None = None, **options: Any) -> Made:
        model = ready(model)
        try:
            return run(self, *given, model=model, **options)
        except torch.OutOfMemoryError:
            if model.device.type == "cpu":
                raise
        _tell_of_cpu()  # out here, where what the exception held is free
        with model.on("cpu"):
            return run(self, *given, model=model, **options)

    return run_somewhere


@functools.cache  # once a process: what has been said is forgotten whenever somebody changes the filters
def _tell_of_cpu() -> None:
    warnings.warn(
        "the GPU's memory is too small for some pictures; the CPU restores them", RestoreWarning, stacklevel=3
    )


class Task(ABC):
    """A kind of damage and how to undo it. Subclasses say what their `problem` needs.

    Attributes:
        name: what the registry, the TOML file and the command line call it.
        summary: one line that says what it does.
        batches: whether `problem` takes a tensor of several pictures at once.
        inputs: what `problem` takes besides, as far as `bcm-restore run` is to offer it.
    """

    name: str
    summary: str
    batches = True
    inputs: tuple[Input, ...] = ()

    @abstractmethod
    def problem(self, image: Tensor, **inputs: Any) -> Problem:
        """The problem that a damaged batch (B, 3, H, W) in [-1, 1] poses, with the inputs that `restore` was given.

        Raises:
            RestoreError: an input is missing or does not fit the image.
        """

    def restore(self, image: Any, **options: Any) -> Any:
        """Restores a picture; takes what `run` takes and returns its `image` alone."""
        return self.run(image, **options).image

    def run(
        self,
        image: Any,
        *,
        nfe: int = DEFAULT_NFE,
        scheme: str | Scheme | None = None,
        model: BCM | str | Path | None = None,
        label: Label | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        **inputs: Any,
    ) -> Restoration:
        """Restores a picture and says how.

        Args:
            image: a PIL image, a NumPy array (H, W[, 1 or 3]) of uint8, uint16 or floats in [0, 1], or a torch tensor
                ([B,] 1 or 3, H, W) of uint8 or floats in [0, 1]. Also several: an array (N, H, W, 1 or 3), or a list
                of pictures of any kind and size.
            nfe: number of network evaluations: picks the default scheme.
            scheme: a scheme of one's own instead; see `bcm_restore.schemes`.
            model: a loaded model, or what `load_model` takes; None: the model inside the package.
            label: class of what the picture shows, for models that know classes: an index or an ImageNet name. None:
                the mean of all classes' embeddings, which is our choice and not the paper's.
            seed: of the noise. The same seed gives an image the same noise in any batch.
            progress: called with (evaluations done, evaluations in all) after each one; for a picture whose result has
                more than `spans.LARGE` pixels with (tiles done, tiles in all), by its method `tile` if it has one.
            **inputs: what the task needs besides: see its `pose` or `problem`. For several pictures a list of so many,
                or an array (N, H, W[, 1]) or (N, 1, H, W), has one for each.

        Returns:
            For several pictures `image` is an array or a list again, and scheme and case are the first one's.

        Raises:
            RestoreError: an input or an option does not fit; says which and what to do.
            TypeError: there is no option or input of that name.
        """
        check_names(self, inputs)
        how = {"nfe": nfe, "scheme": scheme, "model": model, "label": label, "seed": seed, "progress": progress}
        if self._are_several(image):
            return self._run_several(image, inputs, how)
        [restoration] = self.run_together([image], [inputs], **how)
        return restoration

    def _are_several(self, image: Any) -> bool:
        """Whether these are pictures that are restored one by one."""
        if isinstance(image, np.ndarray):
            return image.ndim == 4 and image.shape[3] in (1, 3)
        return isinstance(image, list | tuple) or (isinstance(image, Tensor) and image.ndim == 4 and not self.batches)

    def _run_several(self, images: Any, inputs: Mapping[str, Any], how: Mapping[str, Any]) -> Restoration:
        """`run` for a list or an array (N, H, W, C) of pictures: each becomes what it becomes alone."""
        if not len(images):
            raise RestoreError(f"{self.name} was given no picture: the list is empty")
        how = {**how, "model": ready(how["model"])}
        made = [self.run(image, **own, **how) for image, own in zip(images, dealt(inputs, images), strict=True)]
        restored = [one.image for one in made]
        several: Any = restored
        if not isinstance(images, list | tuple):
            several = torch.stack(restored) if isinstance(images, Tensor) else np.stack(restored)
        return dataclasses.replace(made[0], image=several)

    @or_on_cpu
    def run_together(
        self,
        images: Sequence[Any],
        inputs: Sequence[Mapping[str, Any]],
        *,
        nfe: int = DEFAULT_NFE,
        scheme: str | Scheme | None = None,
        model: BCM | str | Path | None = None,
        label: Label | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[Restoration]:
        """Restores pictures of one height and width, the network evaluating them together where their schemes agree.

        What each becomes is what `run` makes of it alone.

        Args:
            images: see `run`.
            inputs: what the task needs besides, for each of them.
            nfe, scheme, model, label, seed, progress: see `run`.

        Raises:
            RestoreError: see `run`.
        """
        nfe, seed = whole("nfe", nfe), whole("seed", seed)
        model = ready(model)
        for image in images:
            check_kind(image)
        known, inputs = zip(*map(self.prepare, images, inputs), strict=True)
        if len(images) == 1:
            options = RunOptions(nfe, scheme, model, label, seed, progress)
            if made := self.restore_large(known[0], inputs[0], options):
                made.image = self.finish(made.image, images[0], **inputs[0])
                return [made]
        posed = [self._pose(image, own, model, label) for image, own in zip(known, inputs, strict=True)]
        chosen = [self.choose(scheme, nfe, model, problem.case) for problem, _ in posed]
        restored: dict[int, Any] = {}
        for one in dict.fromkeys(chosen):
            group = [n for n, own in enumerate(chosen) if own == one]
            noises = [Noise([seed] * len(posed[n][0].x)) for n in group]
            found = self.solve([posed[n][0] for n in group], one, model, noises, progress)
            restored |= zip(group, found, strict=True)
        return [
            Restoration(
                self.finish(back(restored[n]), images[n], **inputs[n]),
                own,
                own.nfe,
                problem.case,
                model.name,
                problem.remark,
            )
            for n, ((problem, back), own) in enumerate(zip(posed, chosen, strict=True))
        ]

    def ignored(self, size: Sequence[int], **inputs: Any) -> Tensor | None:
        """Where an image of `size` (..., H, W) may hold anything, (B or 1, 1, H, W) bool; None: nowhere."""
        return None

    def prepare(self, image: AnyImage, inputs: Mapping[str, Any]) -> tuple[AnyImage, Mapping[str, Any]]:
        """A picture and its inputs as `problem` takes them: nothing in the picture that is not known.

        Raises:
            RestoreError: an input does not fit.
        """
        return without_hidden(image), inputs

    def restore_large(self, image: Any, inputs: Mapping[str, Any], options: RunOptions) -> Restoration | None:
        """What `prepare` made of a picture, restored in files; None: it is not large, or the task takes it whole."""
        return None

    def _pose(self, image: Any, inputs: Mapping[str, Any], model: BCM, label: Label | None) -> tuple[Problem, Back]:
        """The problem that a picture poses, and the way back to its kind."""
        tensor, back = to_tensor(image)
        check_values(tensor, self.ignored(tensor.shape, **inputs))
        whole, inputs, remark = self.restored_before(MemoryImage(tensor), inputs, model, label)
        problem = self.problem(whole.pixels.to(model.device), **inputs)
        problem.labels, problem.remark = model.labels(label), remark or problem.remark
        return problem, back

    def restored_before(
        self, image: AnyBands, inputs: Mapping[str, Any], model: BCM, label: Label | None
    ) -> tuple[AnyBands, Mapping[str, Any], str]:
        """A picture without what is not in the problem, its inputs then, and what that was."""
        return image, inputs, ""

    def solve(
        self,
        problems: Sequence[Problem],
        scheme: Scheme,
        model: BCM,
        noises: Sequence[Noise],
        progress: Progress | None = None,
    ) -> list[Tensor]:
        """Runs the scheme on problems of one height and width: (B, 3, H, W) each, in about [-1, 1]."""
        for problem in problems:
            schemes.check(scheme, model, problem.t0)
        states = [State(problem.x, problem.t0) for problem in problems]
        settings = [
            Setting(model, as_operator(problem.operator), problem.y, noise, problem.t0, problem.labels)
            for problem, noise in zip(problems, noises, strict=True)
        ]
        schemes.advance(states, scheme, settings, progress)
        return [state.x for state in states]

    def finish(self, restored: Any, image: AnyImage, **inputs: Any) -> Any:
        """A last touch in the caller's own kind of picture."""
        return restored

    def choose(self, scheme: str | Scheme | None, nfe: int, model: BCM, case: str) -> Scheme:
        """The scheme given, or the default one for that NFE, model and case.

        Raises:
            RestoreError: the text is not a scheme or leaves noise in the picture, or no default has that NFE.
        """
        return self.default(nfe, model, case) if scheme is None else as_scheme(scheme)

    def default(self, nfe: int, model: BCM, case: str) -> Scheme:
        """The default scheme for that NFE, model and case; a model may have the same for "any" case.

        Raises:
            RestoreError: none has that NFE.
        """
        cases = self.cases(model)
        table = cases.get(case) or cases.get("any", {})
        if nfe not in table:
            there = f"there are {', '.join(map(str, sorted(table)))}, or" if table else "there is none;"
            raise RestoreError(f"{self.name} has no default scheme with NFE {nfe}; {there} give a scheme")
        return table[nfe]

    def cases(self, model: BCM) -> dict[str, dict[int, Scheme]]:
        """The default schemes for that model: case, then NFE.

        A model without any takes those of one that was trained for the same moves: the default model, the small one
        where level maps are not known, the published one where `mean` is not defined.
        """
        tables = self.schemes()
        alike = weights.PUBLISHED
        if model.diagonal:
            alike = weights.DEFAULT if model.level_maps else weights.SMALL
        return tables.get(model.name) or tables.get(alike) or {}

    def schemes(self) -> dict[str, dict[str, dict[int, Scheme]]]:
        """The default schemes: model, then case, then NFE."""
        return _read_schemes(self.schemes_file())

    def schemes_file(self) -> Path:
        """The TOML file of the default schemes; tasks of other packages bring their own."""
        return package_data.folder("tasks") / f"{self.name}.toml"


def as_scheme(scheme: str | Scheme) -> Scheme:
    """A scheme that ends with a picture, from its text if need be.

    Raises:
        RestoreError: the text is not a scheme, or it leaves noise in the picture.
    """
    chosen = schemes.parse(scheme) if isinstance(scheme, str) else scheme
    if not isinstance(chosen, Scheme):
        raise RestoreError(f"scheme={scheme!r} is a {type(scheme).__name__}; give its text")
    if not chosen.ends_clean:
        raise RestoreError(f'scheme "{chosen}" leaves noise in the picture; end it with "to 0" or "mean"')
    return chosen


@functools.cache
def _read_schemes(path: Path) -> dict[str, dict[str, dict[int, Scheme]]]:
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        model: {case: {int(nfe): schemes.parse(text) for nfe, text in table.items()} for case, table in cases.items()}
        for model, cases in tables.items()
    }


def ready(model: BCM | str | Path | None) -> BCM:
    """A loaded model; those inside the package are loaded once."""
    return model if isinstance(model, BCM) else _load(str(model or weights.DEFAULT))


_load = functools.lru_cache(maxsize=2)(weights.load_model)
