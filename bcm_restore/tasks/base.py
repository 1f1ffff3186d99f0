"""The base class of tasks: a degradation operator, a first estimate, and default schemes."""

import functools
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from .. import package_data, schemes, weights
from ..errors import RestoreError, RestoreWarning
from ..large import BandImage, MemoryImage
from ..model import BCM, Label, Noise
from ..operators import Operator, as_operator
from ..schemes import Progress, Scheme, Setting, State
from ..task_inputs import Input
from .arguments import check_names, whole
from .arrays import AnyImage, FromTensor, check_kind, check_values, to_tensor
from .paths import run_file
from .several import is_several, run_several
from .transparency import without_hidden

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NFES = (1, 2, 3, 4, 8)  # those with default schemes
DEFAULT_NFE = 4


@dataclass
class Problem:
    """An inverse problem for a batch, ready for a scheme.

    Attributes:
        operator: the degradation operator.
        y: the measurements, in the operator's own shape.
        x: (B, 3, H, W) in [-1, 1], the first estimate.
        t0: level of the first estimate: the size of its error, as the standard deviation of noise.
        case: selects among the task's default schemes.
        labels: (B,) or (1,) int64, classes of the images for class-conditional models.
        remark: what was detected about the degradation.
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
    """A restored picture and how it was restored.

    Attributes:
        image: the restored picture, of the input's type.
        scheme: the scheme that was run; of a chain, the text of its steps' schemes.
        nfe: number of network evaluations.
        case: the case that selects among the task's default schemes.
        model: name of the model.
        remark: what was detected about the degradation; empty if nothing notable.
    """

    image: Any
    scheme: Scheme | str
    nfe: int
    case: str
    model: str
    remark: str = ""


@dataclass(frozen=True)
class RunOptions:
    """The options of `Task.run`."""

    nfe: int
    scheme: str | Scheme | None
    model: BCM
    label: Label | None
    seed: int
    progress: Progress | None


Result = TypeVar("Result")
AnyBands = TypeVar("AnyBands", bound=BandImage)


def with_cpu_fallback(run: Callable[..., Result]) -> Callable[..., Result]:
    """Decorates `Task.run` and similar: if GPU memory runs out, restarts on the CPU with the same noise, in float32."""

    @functools.wraps(run)
    def run_or_restart(self: "Task", *args: Any, model: BCM | str | Path | None = None, **options: Any) -> Result:
        model = loaded(model)
        try:
            return run(self, *args, model=model, **options)
        except torch.OutOfMemoryError:
            if model.device.type == "cpu":
                raise
        _warn_of_cpu_fallback()  # outside the handler, where the exception's tensors have been freed
        with model.on("cpu"):
            return run(self, *args, model=model, **options)

    return run_or_restart


@functools.cache  # once per process, even if the caller changes the warning filters
def _warn_of_cpu_fallback() -> None:
    warnings.warn(
        "the GPU's memory is too small for some pictures; the CPU restores them", RestoreWarning, stacklevel=3
    )


class Task(ABC):
    """A restoration task. Subclasses document the inputs of their `problem`.

    Attributes:
        name: its name in the registry, the TOML file and the command line.
        summary: one line that says what it does.
        batches: whether `problem` takes batches of more than one image.
        default_nfe: number of network evaluations where none is given.
        as_stored: whether JPEG coefficients that `problem` takes have to match the pixels, so that a file is restored
            as stored and turned upright afterwards.
        inputs: the further inputs of `problem` that `bcm-restore run` offers as options.
    """

    name: str
    summary: str
    batches = True
    default_nfe = DEFAULT_NFE
    as_stored = True
    inputs: tuple[Input, ...] = ()

    @abstractmethod
    def problem(self, image: Tensor, **inputs: Any) -> Problem:
        """Poses the problem of restoring a batch (B, 3, H, W) in [-1, 1], with the inputs of `restore`.

        Raises:
            RestoreError: an input is missing or does not fit the image.
        """

    def restore(self, image: Any, **options: Any) -> Any:
        """Restores a picture; takes the arguments of `run` and returns only its `image`."""
        return self.run(image, **options).image

    def run(
        self,
        image: Any,
        *,
        nfe: int | None = None,
        scheme: str | Scheme | None = None,
        model: BCM | str | Path | None = None,
        label: Label | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        **inputs: Any,
    ) -> Restoration:
        """Restores a picture and reports how.

        Args:
            image: a PIL image, a NumPy array (H, W[, 1 or 3]) of uint8, uint16 or floats in [0, 1], or a torch tensor
                ([B,] 1 or 3, H, W) of uint8 or floats in [0, 1]. Or the path of a file, whose result is a PIL image, as
                `paths.run_file` says. Or several: an array (N, H, W, 1 or 3), or a list of pictures of any type and
                size. A PIL image that Pillow opened from a JPEG file is restored from the file's coefficients.
            nfe: number of network evaluations: selects the default scheme; None: `default_nfe`.
            scheme: a custom scheme instead; see `bcm_restore.schemes`.
            model: a loaded model, or the argument of `load_model`; None: the model inside the package.
            label: class of the picture, for class-conditional models: an index or an ImageNet name. None:
                the mean of all classes' embeddings, which is our choice and not the paper's.
            seed: of the noise. The same seed gives an image the same noise in any batch.
            progress: called with (evaluations done, total) after each evaluation; for a picture whose result has more
                than `spans.LARGE` pixels its method `tile`, or else itself, is called with (tiles done, total).
            **inputs: further inputs of the task: see its `pose` or `problem`. For n pictures, a list of n values or an
                array (n, H, W[, 1]) or (n, 1, H, W) gives each picture its own.

        Returns:
            For several pictures `image` is an array or a list again, and scheme and case are the first one's.

        Raises:
            RestoreError: an input or an option does not fit; names it and the fix.
            TypeError: an option or input of that name does not exist.
        """
        check_names(self, inputs)
        run_kwargs = {"nfe": nfe, "scheme": scheme, "model": model, "label": label, "seed": seed, "progress": progress}
        if isinstance(image, str | Path):
            return run_file(self, image, inputs, run_kwargs)
        if is_several(image, self.batches):
            return run_several(self.name, self.run, image, inputs, run_kwargs | {"model": loaded(model)})
        [restoration] = self.run_together([image], [inputs], **run_kwargs)
        return restoration

    @with_cpu_fallback
    def run_together(
        self,
        images: Sequence[Any],
        inputs: Sequence[Mapping[str, Any]],
        *,
        nfe: int | None = None,
        scheme: str | Scheme | None = None,
        model: BCM | str | Path | None = None,
        label: Label | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[Restoration]:
        """Restores pictures of one height and width; those with the same scheme are batched.

        Each result is the same as from `run` alone.

        Args:
            images: see `run`.
            inputs: the further inputs of the task, for each picture.
            nfe, scheme, model, label, seed, progress: see `run`.

        Raises:
            RestoreError: see `run`.
        """
        nfe, seed = whole("nfe", self.default_nfe if nfe is None else nfe), whole("seed", seed)
        model = loaded(model)
        for image in images:
            check_kind(image)
        known, inputs = zip(*map(self.prepare, images, inputs), strict=True)
        if len(images) == 1:
            options = RunOptions(nfe, scheme, model, label, seed, progress)
            if result := self.restore_large(known[0], inputs[0], options):
                result.image = self.finish(result.image, images[0], **inputs[0])
                return [result]
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
                self.finish(from_tensor(restored[n]), images[n], **inputs[n]),
                own,
                own.nfe,
                problem.case,
                model.name,
                problem.remark,
            )
            for n, ((problem, from_tensor), own) in enumerate(zip(posed, chosen, strict=True))
        ]

    def ignored(self, size: Sequence[int], **inputs: Any) -> Tensor | None:
        """The pixels of an image of `size` (..., H, W) that may have any value, (B or 1, 1, H, W) bool; None: none."""
        return None

    def prepare(self, image: AnyImage, inputs: Mapping[str, Any]) -> tuple[AnyImage, Mapping[str, Any]]:
        """Prepares a picture and its inputs for `problem`: unknown pixels are replaced.

        Raises:
            RestoreError: an input does not fit.
        """
        return without_hidden(image), inputs

    def restore_large(self, image: Any, inputs: Mapping[str, Any], options: RunOptions) -> Restoration | None:
        """Restores a prepared picture in files; None: it is not large, or the task does not work in files."""
        return None

    def _pose(
        self, image: Any, inputs: Mapping[str, Any], model: BCM, label: Label | None
    ) -> tuple[Problem, FromTensor]:
        """Poses the problem of a picture; also returns the function that converts results to the picture's type."""
        tensor, from_tensor = to_tensor(image)
        check_values(tensor, self.ignored(tensor.shape, **inputs))
        whole, inputs, remark = self.preprocess(MemoryImage(tensor), inputs, model, label)
        problem = self.problem(whole.pixels.to(model.device), **inputs)
        problem.labels, problem.remark = model.labels(label), remark or problem.remark
        return problem, from_tensor

    def preprocess(
        self, image: AnyBands, inputs: Mapping[str, Any], model: BCM, label: Label | None
    ) -> tuple[AnyBands, Mapping[str, Any], str]:
        """Removes damage that `problem` does not model: the picture, its inputs from then on, and a remark."""
        return image, inputs, ""

    def solve(
        self,
        problems: Sequence[Problem],
        scheme: Scheme,
        model: BCM,
        noises: Sequence[Noise],
        progress: Progress | None = None,
    ) -> list[Tensor]:
        """Runs the scheme on problems of one height and width; results are (B, 3, H, W), in about [-1, 1]."""
        for problem in problems:
            schemes.check(scheme, model, problem.t0)
        states = [State(problem.x, problem.t0) for problem in problems]
        settings = [
            Setting(model, as_operator(problem.operator), problem.y, noise, problem.t0, problem.labels)
            for problem, noise in zip(problems, noises, strict=True)
        ]
        schemes.advance(states, scheme, settings, progress)
        return [self.united(state.x, problem) for state, problem in zip(states, problems, strict=True)]

    def united(self, x: Tensor, problem: Problem) -> Tensor:
        """The results (B, 3, H, W) in the last state of a problem's scheme, where the task restores parts of them."""
        return x

    def finish(self, restored: Any, image: AnyImage, **inputs: Any) -> Any:
        """Postprocesses a result of the input's type."""
        return restored

    def choose(self, scheme: str | Scheme | None, nfe: int, model: BCM, case: str) -> Scheme:
        """The given scheme, or the default scheme for the NFE, model and case.

        Raises:
            RestoreError: the text is not a scheme or leaves noise in the picture, or no default has that NFE.
        """
        return self.default(nfe, model, case) if scheme is None else as_scheme(scheme)

    def default(self, nfe: int, model: BCM, case: str) -> Scheme:
        """The default scheme for the NFE, model and case, or else for the case "any".

        Raises:
            RestoreError: no default scheme has that NFE.
        """
        cases = self.cases(model)
        table = cases.get(case) or cases.get("any", {})
        if nfe not in table:
            choices = f"choose {', '.join(map(str, sorted(table)))}, or " if table else ""
            raise RestoreError(f"{self.name} has no default scheme with NFE {nfe}; {choices}give a scheme")
        return table[nfe]

    def cases(self, model: BCM) -> dict[str, dict[int, Scheme]]:
        """The default schemes of a model: case, then NFE.

        A model without its own uses those of one that was trained for the same moves: the default model, the small one
        if it has no level maps, the published one if `mean` is not defined.
        """
        tables = self.schemes()
        alike = weights.PUBLISHED
        if model.diagonal:
            alike = weights.DEFAULT if model.level_maps else weights.SMALL
        return tables.get(model.name) or tables.get(alike) or {}

    def has_nfe(self, nfe: int) -> bool:
        """Whether there are default schemes with that number of network evaluations."""
        return any(nfe in table for cases in self.schemes().values() for table in cases.values())

    def schemes(self) -> dict[str, dict[str, dict[int, Scheme]]]:
        """The default schemes: model, then case, then NFE."""
        return _read_schemes(self.schemes_file())

    def schemes_file(self) -> Path:
        """The TOML file of the default schemes; tasks of other packages override this."""
        return package_data.folder("tasks") / f"{self.name}.toml"


def as_scheme(scheme: str | Scheme) -> Scheme:
    """Parses a scheme if it is text, and checks that it ends without noise.

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


def loaded(model: BCM | str | Path | None) -> BCM:
    """The model, loaded if it is a name or a path; the last two are cached for as long as their files stay the same."""
    if isinstance(model, BCM):
        return model
    file = weights.find(weights.DEFAULT if model is None else model)
    status = file.stat()
    return _load(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=2)
def _load(file: Path, modified: int, size: int) -> BCM:
    return weights.load_model(file)
