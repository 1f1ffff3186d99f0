"""Training objectives of models that are trained for one kind of damage; see `bcm_restore.supervised`."""

from ..supervised import I2SB, Palette, Process
from ..supervised.model import evaluate
from .levels import FlowMap
from .objectives import Batch, Losses


def i2sb(flow: FlowMap, target: FlowMap, batch: Batch, *, beta_max: float = 0.3, ode: bool = False) -> Losses:
    """The bridge from damaged to clean images; see `I2SB`.

    Args:
        flow: its network is trained.
        target: not used.
        batch: the images, with damaged ones.
        beta_max: the largest beta, times the number of time steps.
        ode: the variant without noise.
    """
    return _loss(flow, batch, I2SB(beta_max=beta_max, ode=ode))


def palette(flow: FlowMap, target: FlowMap, batch: Batch) -> Losses:
    """Diffusion that is conditioned on damaged images; see `Palette`. The arguments are those of `i2sb`."""
    return _loss(flow, batch, Palette())


def _loss(flow: FlowMap, batch: Batch, process: Process) -> Losses:
    assert batch.damaged is not None
    loss = process.loss(
        lambda x, damaged, level: evaluate(flow.network, process, x, damaged, level).float(),
        batch.clean,
        batch.damaged,
        batch.generator,
    )
    return {process.name: loss.mean()}
