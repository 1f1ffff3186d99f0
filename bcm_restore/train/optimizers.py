"""Optimizers: Muon for the inner convolutions, AdamW for all other parameters."""

import torch
from torch import Tensor, nn

# Quintic Newton-Schulz iteration to the nearest orthogonal matrix: coefficients of Jordan et al., "Muon", 2024.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates: every direction of a weight matrix moves by the same amount.

    Weights (out, in, h, w) are treated as matrices (out, in h w).

    Args:
        parameters: tensors of two or more dimensions.
        lr: learning rate of a square matrix; multiplied by sqrt(rows / columns) for tall ones.
        momentum: of the average of gradients (Nesterov's form).
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates all parameters that have a gradient."""
        for group in self.param_groups:
            for parameters in self._by_shape(group["params"]):
                averages = [self.state[p].setdefault("average", torch.zeros_like(p)) for p in parameters]
                gradients = [p.grad for p in parameters if p.grad is not None]
                torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
                moved = torch._foreach_lerp(gradients, averages, group["momentum"])
                updates = orthogonalise(torch.stack([each.flatten(1) for each in moved]))
                proportion = max(1.0, updates.shape[1] / updates.shape[2]) ** 0.5
                steps = [update.view(p.shape) for update, p in zip(updates, parameters, strict=True)]
                torch._foreach_add_(parameters, steps, alpha=-group["lr"] * proportion)

    @staticmethod
    def _by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
        """Groups the parameters that have a gradient by shape, to multiply matrices of one shape together."""
        groups: dict[torch.Size, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                groups.setdefault(parameter.shape, []).append(parameter)
        return list(groups.values())


def orthogonalise(matrix: Tensor) -> Tensor:
    """Approximates U V^T of each matrix U S V^T (..., M, N): the singular values become 0.7 to 1.2.

    X <- (a + b X X^T + c (X X^T)^2) X, five times. Polynomials in X X^T commute, so the iteration runs on that small
    square matrix, and the long matrix is multiplied once.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    gram = x @ x.mT
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    product = identity
    for _ in range(ITERATIONS):
        polynomial = a * identity + b * gram + c * (gram @ gram)
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    x = product @ x
    return x.mT if tall else x


def make_optimizers(network: nn.Module, muon: float, adamw: float) -> list[torch.optim.Optimizer]:
    """Muon at rate `muon` for all convolutions but the first and the last, AdamW at rate `adamw` for the rest.

    With `muon` 0, AdamW for all parameters.
    """
    inner = {
        id(parameter)
        for name, parameter in network.named_parameters()
        if muon and parameter.ndim == 4 and not name.startswith(("entrance", "exit"))
    }
    parameters = list(network.parameters())
    rest = [p for p in parameters if id(p) not in inner]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=adamw, betas=(0.9, 0.99), weight_decay=0.0)]
    if inner:
        optimizers.insert(0, Muon([p for p in parameters if id(p) in inner], lr=muon))
    return optimizers
