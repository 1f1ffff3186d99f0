"""AdamW for what is small and Muon for the convolutions in the middle of the network."""

import torch
from torch import Tensor, nn

# Quintic Newton-Schulz iteration towards the nearest orthogonal matrix: coefficients of Jordan et al., "Muon", 2024.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: every direction of a weight matrix moves by the same amount.

    Weights (out, in, h, w) count as matrices (out, in h w).

    Args:
        parameters: of two or more dimensions.
        lr: of a square matrix; a taller one moves more, by the square root of its proportion.
        momentum: of the average of gradients (Nesterov's form).
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonalise(parameter.grad.lerp(average, group["momentum"]).flatten(1))
                proportion = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * proportion)


def orthogonalise(matrix: Tensor) -> Tensor:
    """About U V^T of the matrix's singular value decomposition U S V^T: singular values between 0.7 and 1.2.

    X <- (a + b X X^T + c (X X^T)^2) X, five times. All polynomials in X X^T commute, so that the iteration runs on that
    small square matrix, and the long one is multiplied once.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = NEWTON_SCHULZ
    gram = x @ x.mT
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    product = identity
    for _ in range(ITERATIONS):
        polynomial = a * identity + b * gram + c * (gram @ gram)
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    x = product @ x
    return x.mT if tall else x


def make_optimizers(network: nn.Module, muon: float, adamw: float) -> list[torch.optim.Optimizer]:
    """Muon at rate `muon` for the convolutions but the first and the last, AdamW at rate `adamw` for the rest.

    With `muon` 0 all parameters are AdamW's.
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
