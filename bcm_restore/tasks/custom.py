"""Restoration with a degradation operator of one's own, also with deepinv's physics."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import RestoreError
from ..model import BCM, Label, Noise
from ..operators import Linear, Operator, Relaxed, UnitRange, as_operator
from ..operators.linear import along
from ..schemes import Progress, Scheme
from .arguments import check_names, real, whole
from .base import DEFAULT_NFE, Problem, Restoration, Task, as_scheme, loaded, with_cpu_fallback
from .photographs import Photographs, standard_noise


class Custom(Task):
    """Restores images from measurements y = A(u) + noise, with an operator of one's own.

        task = Custom(deepinv.physics.Inpainting((3, 128, 128), mask=0.5))
        restored = task.restore(y, nfe=4)

    All images on the outside are u in [0, 1]: those that `operator` and `estimate` receive and return, and the result.
    y is A(u) as it is, neither shifted nor scaled. Images have 3 channels, or 1 where the first estimate has 1.

    Args:
        operator: an object with `A(u)`, `pinv(y)` and `fit(u, y)`, see `operators.Operator`; or a linear physics of
            deepinv, or another object with `A` and `A_adjoint`, for which `operators.Linear` finds the rest. It works
            on the device of y.
        estimate: the first estimate (B, 1 or 3, H, W) as a function of y. None: `pinv(y)`; for linear physics the
            posterior mean of `photographs.Photographs`, which is smooth where `pinv(y)` is black.
        t0: error of the first estimate, as the standard deviation of noise for images in [-1, 1]: twice that in
            [0, 1]. Default schemes are multiples of it. None: the error of the first estimate of a random image
            with the spectrum of photographs.
        sigma: standard deviation of the noise in y, in the units of y. `fit` then leaves a residual of that size. None:
            that of the physics' noise model if it has one, else 0.
        schemes: own default schemes by NFE.

    Raises:
        RestoreError: the operator is not one, or a number or a scheme is not valid.
    """

    name = "custom"
    summary = "restores images from measurements by an operator of one's own"

    def __init__(
        self,
        operator: Any,
        estimate: Callable[[Any], Tensor] | None = None,
        *,
        t0: float | None = None,
        sigma: float | None = None,
        schemes: Mapping[int, str | Scheme] | None = None,
    ) -> None:
        self.operator, self.estimate = as_operator(operator), estimate
        self.t0 = None if t0 is None else _not_negative("t0", t0)
        self.sigma = torch.tensor([_not_negative("sigma", sigma)]) if sigma is not None else _sigma_of(operator)
        self._errors: dict[tuple[int, ...], float] = {}
        self._own = {nfe: as_scheme(scheme) for nfe, scheme in (schemes or {}).items()}

    def cases(self, model: BCM) -> dict[str, dict[int, Scheme]]:
        """See `Task.cases`."""
        return {case: {**table, **self._own} for case, table in super().cases(model).items()}

    def problem(self, image: Any, **inputs: Any) -> Problem:
        """Poses the problem of restoring the images of the measurements y.

        Raises:
            RestoreError: y, the first estimate and the operator do not fit together.
        """
        y = image.detach() if isinstance(image, Tensor) else image
        with torch.no_grad():
            u = _checked(self._estimate(self.operator, y))
            operator = self._relaxed(u, y)
            if operator is not self.operator:
                u = self._estimate(operator, y)
            _check_measurements(operator.A(u), y)
            t0 = self.t0 if self.t0 is not None else self._errors.get(u.shape)
            if t0 is None:  # the same for all measurements of one size
                t0 = self._errors[u.shape] = self._error(operator, u)
            case = "pixels" if isinstance(operator, Linear) and _only_scales(operator.physics, u) else "any"
        unit = UnitRange(operator, u.shape[1], u.device)
        return Problem(unit, y, unit.centred(u), t0=t0, case=case)

    @with_cpu_fallback
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
        """Restores images from measurements and reports how.

        Args:
            image: the measurements y: a tensor (B, ...) of any shape, or what the operator takes.
            nfe, scheme, model, label, seed, progress: see `Task.run`.

        Returns:
            `image` is (B, 1 or 3, H, W) in [0, 1], float32, on the device of the first estimate.

        Raises:
            RestoreError: see `problem` and `Task.run`.
            TypeError: an option of that name does not exist.
        """
        check_names(self, inputs)
        nfe, seed, model = whole("nfe", nfe), whole("seed", seed), loaded(model)
        problem = self.problem(image)
        device, problem.x, problem.labels = problem.x.device, problem.x.to(model.device), model.labels(label)
        chosen = self.choose(scheme, nfe, model, problem.case)
        with torch.no_grad():
            [x] = self.solve([problem], chosen, model, [Noise([seed] * len(problem.x))], progress)
            assert isinstance(problem.operator, UnitRange)
            restored = problem.operator.unit(x).clamp(0, 1).to(device)
        return Restoration(restored, chosen, chosen.nfe, problem.case, model.name)

    def _estimate(self, operator: Operator, y: Any) -> Tensor:
        """The first estimate (B, 1 or 3, H, W) in [0, 1]."""
        if self.estimate is not None:
            return self.estimate(y)
        if not isinstance(operator, Linear):
            return operator.pinv(y)
        prior = Photographs(operator.physics.A_adjoint(y))
        return prior.mean(operator.physics, y, operator.noise)

    def _relaxed(self, u: Tensor, y: Any) -> Operator:
        """The operator with the norm of the noise in y: sigma times the root of the number of measured values."""
        if not self.sigma.any():
            return self.operator
        if not isinstance(y, Tensor):
            raise RestoreError(f"sigma is for measurements in a tensor, not {type(y).__name__}; leave it out")
        measured = (self.operator.A(standard_noise(u)) != 0).flatten(1).sum(1)  # a mask's other values are always zero
        norm = self.sigma.to(u) * measured.to(u).sqrt()
        if isinstance(self.operator, Linear):
            return Linear(self.operator.physics, norm)
        return Relaxed(self.operator, norm)

    def _error(self, operator: Operator, u: Tensor) -> float:
        """The error of the first estimate of a random image with the spectrum of photographs, for [-1, 1]."""
        truth = Photographs(u).sample().clamp(0, 1)
        y = operator.A(truth)
        if self.sigma.any():
            y = y + along(self.sigma.to(u), standard_noise(y[:1]).expand_as(y))
        return 2 * float((self._estimate(operator, y) - truth).square().mean().sqrt())


def _only_scales(physics: Any, u: Tensor) -> bool:
    """Whether A^T A is diagonal, as of a mask: then flipping signs before or after it is the same."""
    signs = standard_noise(u).sign()
    after = signs * physics.A_adjoint(physics.A(torch.ones_like(u)))
    return torch.allclose(physics.A_adjoint(physics.A(signs)), after, atol=1e-3 * float(after.abs().max()))


def _sigma_of(physics: Any) -> Tensor:
    """The standard deviation (B or 1,) of the Gaussian noise of a deepinv physics; 0 if it has none."""
    sigma = getattr(getattr(physics, "noise_model", None), "sigma", 0.0)
    return torch.as_tensor(sigma, dtype=torch.float32).detach().flatten()


def _not_negative(name: str, value: Any) -> float:
    number = real(name, value)
    if not 0 <= number < float("inf"):
        raise RestoreError(f"{name}={value!r} is not a standard deviation; give 0 or more")
    return number


def _checked(u: Any) -> Tensor:
    """The first estimate, if it is one."""
    if not (isinstance(u, Tensor) and u.ndim == 4 and u.shape[1] in (1, 3) and u.is_floating_point() and u.numel()):
        shape = f"{u.dtype} {tuple(u.shape)}" if isinstance(u, Tensor) else type(u).__name__
        raise RestoreError(f"the first estimate is {shape}, not floats (B, 1 or 3, H, W); give another estimate=")
    if not u.isfinite().all():
        raise RestoreError("the first estimate has NaN or infinite values; check y, or give another estimate=")
    return u


def _check_measurements(found: Any, y: Any) -> None:
    if isinstance(found, Tensor) and isinstance(y, Tensor) and found.shape != y.shape:
        raise RestoreError(f"y is {tuple(y.shape)}, but the operator's A returns {tuple(found.shape)}: reshape y")
