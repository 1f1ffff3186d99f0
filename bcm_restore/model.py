"""The bidirectional consistency model: one network that follows the probability-flow ODE in both directions.

Notation of arXiv 2403.18035 and of EDM (arXiv 2206.00364): an image x_0 in [-1, 1], a level t that is the standard
deviation of the noise in x_t = x_0 + t n, and a target level u.
"""

import functools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from .errors import RestoreError, RestoreWarning
from .labels import label_index
from .networks.base import Network
from .networks.orientations import ORDER
from .preconditioning import input_scale, mean_scales, traverse_scales

Level = float | Tensor  # one level for the batch, or levels (B,)
Label = int | str  # of a class: its index, or an ImageNet name

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
INSTRUCTIONS = {torch.bfloat16: ("avx512_bf16", "amx_bf16"), torch.float16: ("avx512_fp16", "amx_fp16")}  # of CPUs


class BCM:
    """f(x, t, u) = c_skip x + c_out F(c_in x, t, u) and the posterior mean; counts the evaluations of F.

    Args:
        network: F(c_in x, t, u, maps), usually one for any image size (`networks.for_any_size`).
        name: for looking up default schemes.
        sigma_min, sigma_max: the ends of the ODE.
        sigma_data: standard deviation of the images that the network was trained on.
        diagonal: whether F(., t, t) was trained, so that `mean` is defined.
        level_maps: whether the network was trained with levels that differ between pixels.
        device: "auto" (CUDA if available), or an argument of `torch.device`.
        dtype: of the network's arithmetic: "auto" (float32 on CPU, bfloat16 or else float16 on CUDA), "fp32", "bf16",
            "fp16" (float32 on a CPU without instructions for them) or a torch dtype. Images stay in float32.

    Attributes:
        classes: number of classes; 0 if the network is not class-conditional.
        nfe: number of function evaluations so far; a call of F on a batch counts as one, even in several tiles.
    """

    def __init__(
        self,
        network: Network,
        *,
        name: str = "unnamed",
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        sigma_data: float = 0.5,
        diagonal: bool = True,
        level_maps: bool = False,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
    ) -> None:
        self.name = name
        self.sigma_min, self.sigma_max, self.sigma_data = sigma_min, sigma_max, sigma_data
        self.diagonal, self.level_maps = diagonal, level_maps
        self.classes = network.classes
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.network = network.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)
        self.nfe = 0

    @contextmanager
    def on(self, device: str | torch.device) -> Iterator[None]:
        """Moves the model to another device, with its "auto" dtype, for the duration of a `with` block."""
        own = self.device, self.dtype
        self.device = choose_device(device)
        self.dtype = choose_dtype("auto", self.device)
        try:
            self.network.to(self.device)
            yield
        finally:
            self.device, self.dtype = own
            self.network.to(self.device)

    def traverse(
        self, x: Tensor, t: Level, u: Level, known: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Follows the ODE from x at level t to level u, in either direction; 1 NFE (arXiv 2403.18035, eq. 8).

        Args:
            x: (B, 3, H, W) at level t.
            t: level of x.
            u: target level.
            known: (B, 1, H, W) bool, pixels that are clean (at sigma_min) and stay so; needs level maps.
            labels: (B,) or (1,) int64, from `labels`; None: the network's default for an unknown class.

        Returns:
            (B, 3, H, W) at level u; known pixels are unchanged.
        """
        t, u = self._per_image(t, x), self._per_image(u, x)
        return self._evaluate(x, t, u, *traverse_scales(t, u, self.sigma_data), known, labels)

    def mean(
        self,
        x: Tensor,
        t: Level,
        known: Tensor | None = None,
        labels: Tensor | None = None,
        orientations: int = 1,
    ) -> Tensor:
        """The posterior mean E[x_0 | x_t = x], the MMSE estimate, from the diagonal F(., t, t); 1 NFE an orientation.

        Arguments and result are those of `traverse`, with u = 0, and:

        Args:
            orientations: number of orientations of the image to average the mean over, 1 to 8 (EDSR, arXiv 1707.02921).

        Raises:
            RestoreError: the network was trained by the consistency objective alone, which never sees the diagonal.
        """
        self.require_diagonal()
        t = self._per_image(t, x)
        return self._evaluate(x, t, t, *mean_scales(t, self.sigma_data), known, labels, orientations)

    def at_once(self, height: int, width: int) -> int:
        """The number of images of that size to evaluate in one batch; 1 if batches are no faster."""
        return self.network.at_once(height, width, self.device)

    def denoise(self, x: Tensor, t: Level) -> Tensor:
        """Follows the ODE from x at level t to a clean image, in one evaluation."""
        return self.traverse(x, t, self.sigma_min)

    def invert(self, x: Tensor, t: Level, u: Level | None = None) -> Tensor:
        """Follows the ODE from x at level t to noise at level u (None: sigma_max), in one evaluation."""
        return self.traverse(x, t, self.sigma_max if u is None else u)

    def labels(self, label: Label | Sequence[Label] | None) -> Tensor | None:
        """Converts a class to the labels (1,) of `traverse`, or one class per image to (B,); None stays None.

        Raises:
            RestoreError: no such class, or the network is not class-conditional.
        """
        if label is None:
            return None
        several = [label] if isinstance(label, int | str) else label
        return torch.tensor([label_index(each, self.classes) for each in several])

    def require_diagonal(self) -> None:
        """Raises RestoreError if `mean` is not defined."""
        if not self.diagonal:
            raise RestoreError(f"model '{self.name}' has no posterior mean; use a scheme with 'to 0' for 'mean'")

    def require_level_maps(self) -> None:
        """Raises RestoreError if levels cannot differ between pixels."""
        if not self.level_maps:
            raise RestoreError(f"model '{self.name}' was not trained with level maps; use a scheme without 'hole'")

    def _evaluate(
        self,
        x: Tensor,
        t: Tensor,
        u: Tensor,
        c_skip: Tensor,
        c_out: Tensor,
        known: Tensor | None,
        labels: Tensor | None,
        orientations: int = 1,
    ) -> Tensor:
        """c_skip x + c_out F(c_in x, t, u), with known pixels at sigma_min throughout; F averaged over orientations."""
        if known is not None:
            self.require_level_maps()
        c_in = input_scale(t, self.sigma_data)
        maps = None
        if known is not None:
            known = known.to(x.device)
            c_skip, c_out = _where(known, 1.0, c_skip), _where(known, 0.0, c_out)
            c_in = _where(known, (self.sigma_min**2 + self.sigma_data**2) ** -0.5, c_in)
            maps = torch.cat([_where(known, torch.log(self.sigma_min / level), 0.0) for level in (t, u)], 1)
        # networks that are not class-conditional need no labels argument
        condition = () if labels is None else (labels.to(x.device).expand(len(x)),)
        self.nfe += orientations
        networks = [self.network, *(self.network.oriented(number) for number in ORDER[1:orientations])]
        inputs = (x * _pixelwise(c_in), t.float(), u.float(), maps, *condition)
        with torch.set_grad_enabled(torch.is_grad_enabled() and x.requires_grad), self._autocast():
            raw = networks[0](*inputs).float()
            for network in networks[1:]:
                raw += network(*inputs)
        if orientations > 1:
            raw /= orientations
        return raw.mul_(_pixelwise(c_out)).addcmul_(x, _pixelwise(c_skip))

    def _per_image(self, level: Level, x: Tensor) -> Tensor:
        """The level as (B,) in float64: in float32 the scalings would suffer from cancellation."""
        return torch.as_tensor(level, dtype=torch.float64, device=x.device).expand(len(x))

    def _autocast(self) -> AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def _pixelwise(coefficient: Tensor) -> Tensor:
    """Converts (B,) or (B, 1, H, W) in float64 to a float32 factor for (B, 3, H, W)."""
    return coefficient.view(-1, 1, 1, 1).float() if coefficient.ndim == 1 else coefficient.float()


def _where(known: Tensor, value: Tensor | float, other: Tensor | float) -> Tensor:
    """(B, 1, H, W): `value` in known pixels, else `other`, each a number or (B,)."""
    a, b = (torch.as_tensor(v, dtype=torch.float32, device=known.device).view(-1, 1, 1, 1) for v in (value, other))
    return torch.where(known, a, b)


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" is CUDA if available, else CPU.

    Raises:
        RestoreError: the name is not a device, or the device does not exist.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise RestoreError(f"device '{device}' is not known; use auto, cpu, cuda or cuda:0") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise RestoreError(f"device '{device}' not found ({torch.cuda.device_count()} CUDA devices); use auto or cpu")
    return chosen


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype of the network's arithmetic; "auto" is float32 on CPU, bfloat16 or else float16 on CUDA.

    On a CPU without instructions for it, a name gives float32 and a warning; a torch dtype is always used as it is.

    Raises:
        RestoreError: the name is not a precision.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if dtype not in PRECISIONS:
        raise RestoreError(f"precision '{dtype}' is not known; use auto, {', '.join(PRECISIONS)}")
    if device.type == "cpu" and not fast_on_cpu(PRECISIONS[dtype]):
        _warn_of_fp32(dtype)
        return torch.float32
    return PRECISIONS[dtype]


def fast_on_cpu(dtype: torch.dtype) -> bool:
    """Whether the CPU has instructions for the dtype; without them it is 3 to 6 times slower than float32."""
    if dtype == torch.float32:
        return True
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", _older_capabilities)()
    return any(capabilities.get(name, False) for name in INSTRUCTIONS[dtype])


def _older_capabilities() -> dict[str, bool]:
    """The capabilities that PyTorch reports before it had `get_capabilities`."""
    names = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    return {name: getattr(torch.cpu, function, bool)() for name, function in names.items()}


@functools.cache  # once per process
def _warn_of_fp32(name: str) -> None:
    warnings.warn(
        f"this CPU has no fast {name}, which would be 3 to 6 times slower; using fp32",
        RestoreWarning,
        stacklevel=3,
    )


class Noise:
    """Standard Gaussian noise from one generator per image, on CPU: it does not depend on batch size or device.

    Args:
        seeds: one for each image of the batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, like: Tensor) -> Tensor:
        """Draws noise of the shape, dtype and device of `like` (B, 3, H, W); each call gives new noise.

        Raises:
            RestoreError: the number of images differs from the number of seeds.
        """
        if len(like) != len(self.generators):
            raise RestoreError(f"{len(like)} images for {len(self.generators)} seeds; give one seed per image")
        noise = torch.empty(like.shape, dtype=torch.float32)
        for image, generator in zip(noise, self.generators, strict=True):
            image.normal_(generator=generator)
        return noise.to(like.device, like.dtype)
