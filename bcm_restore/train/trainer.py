"""The training loop: one device a process, several processes through torchrun."""

import copy
import logging
import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .. import weights
from ..errors import RestoreError
from ..files import atomic_path
from ..model import BCM, choose_dtype
from ..networks import Network, for_any_size
from . import checkpoints
from .config import Config
from .data import Crops
from .levels import FlowMap
from .objectives import OBJECTIVES, TARGET_DECAY, Batch, draw_known
from .optimizers import make_optimizers
from .teachers import make_teacher
from .validation import validate

SMOOTHING = 0.99  # of the losses that are shown
MODEL = "model.safetensors"
PAYS = 10.0  # minutes of a run on a CPU: shorter ones are not compiled, which would take most of them


@dataclass(frozen=True)
class Status:
    """Where a run is.

    Attributes:
        step: steps done.
        seconds: of training, over all parts of the run.
        progress: how much of it is done, 0 to 1.
        losses: running mean of each term.
        speed: images a second, of all devices.
        scores: of the validation that was just made; empty otherwise.
    """

    step: int
    seconds: float
    progress: float
    losses: dict[str, float]
    speed: float
    scores: dict[str, float]


class Diverged(RestoreError):  # noqa: N818
    """The loss or its gradient stopped being a number."""


class Trainer:
    """A network, its averages, its optimizers and its randomness, and how they move on by a step.

    Args:
        config: the run.
        network: what is trained; averages begin as copies of it.
        network_config: the arguments that it was built with.
        crops: where images come from.
        held_out: (N, 3, H, W) clean pictures to validate on.
        folder: for the checkpoint and the models.
        scalings: sigma_min, sigma_max, sigma_data.
    """

    def __init__(
        self,
        config: Config,
        network: Network,
        network_config: dict[str, Any],
        crops: Crops,
        held_out: Tensor,
        folder: Path,
        **scalings: float,
    ) -> None:
        self.config, self.network_config, self.folder = config, network_config, folder
        self.crops, self.held_out, self.scalings = crops, held_out, scalings
        self.device = crops.device
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.generator = torch.Generator(self.device).manual_seed(config.run.seed + 7919 * self.rank)
        precision, on_gpu = config.run.precision, self.device.type == "cuda"
        self.bf16 = on_gpu if precision == "auto" else choose_dtype(precision, self.device) == torch.bfloat16
        if on_gpu:
            torch.backends.cudnn.benchmark = True  # every step has the same shapes
        self.network = network.to(self.device).to(memory_format=torch.channels_last).train()
        self.averages = [copy.deepcopy(self.network).requires_grad_(False) for _ in config.optimizer.ema]
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizers = make_optimizers(self.network, config.optimizer.muon, config.optimizer.adamw)
        self.rates = [group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups]
        self.objective = OBJECTIVES[config.objective.name]
        decay = config.optimizer.target
        self.decay = TARGET_DECAY[config.objective.name] if decay is None else decay
        maps = config.objective.maps > 0
        self.flow = FlowMap(self._ready(self.network, distributed=True), **scalings, maps=maps)
        self.held = FlowMap(self._ready(self.target), **scalings, maps=maps)
        self.teacher = make_teacher(config.teacher, crops.side, self.device, self._ready)
        self.steps, self.seconds = 0, 0.0
        self.losses: dict[str, float] = {}
        self.stop = False  # set from outside, by a signal: save after this step and raise KeyboardInterrupt

    def run(self, report: Callable[[Status], None]) -> None:
        """Trains until the budget is spent, with checkpoints and validations on the way and at the end.

        Raises:
            Diverged: names the step; the weights of the step before it are in the checkpoint.
            KeyboardInterrupt: after saving.
        """
        started, before, steps_before = time.monotonic(), self.seconds, self.steps
        checkpointed = validated = self.seconds
        try:
            while self.progress < 1:
                self.step()
                self.seconds, self.stop = self._agree(before + time.monotonic() - started, self.stop)
                if self.stop:
                    raise KeyboardInterrupt
                done = self.progress >= 1
                scores = {}
                if done or self.seconds - validated >= 60 * self.config.run.validate:
                    scores, validated = self.validate(), self.seconds
                if done or self.seconds - checkpointed >= 60 * self.config.run.checkpoint:
                    self.save()
                    checkpointed = self.seconds
                elapsed = max(self.seconds - before, 1e-9)
                speed = (self.steps - steps_before) * self.config.run.batch * self.world / elapsed
                report(Status(self.steps, self.seconds, self.progress, dict(self.losses), speed, scores))
        except (KeyboardInterrupt, Diverged):
            self.save()
            raise

    @property
    def progress(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        run = self.config.run
        done = self.seconds / (60 * run.minutes) if run.minutes is not None else self.steps / (run.steps or 1)
        return min(done, 1.0)

    def step(self) -> dict[str, float]:
        """One update of the weights.

        Returns:
            The objective's terms.

        Raises:
            Diverged: before anything is changed.
        """
        run, optimizer, objective = self.config.run, self.config.optimizer, self.config.objective
        self._set_rates()
        clean, labels = self.crops(run.batch, self.generator)
        known = draw_known(clean, objective.maps, self.generator)
        batch = Batch(clean, known, self.generator, self.progress, labels, self.teacher)
        terms = self.objective(self.flow, self.held, batch, **objective.options)
        for each in self.optimizers:
            each.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), optimizer.clip)
        *losses, size = torch.stack([*(term.detach() for term in terms.values()), norm]).tolist()
        if not all(map(math.isfinite, [*losses, size])):
            raise Diverged(f"step {self.steps + 1}: the loss is not a number any more; lower the rates and --resume")
        for each in self.optimizers:
            each.step()
        self.steps += 1
        self._average()
        values = dict(zip(terms, losses, strict=True))
        self.losses = {
            name: SMOOTHING * self.losses.get(name, value) + (1 - SMOOTHING) * value for name, value in values.items()
        }
        return values

    def validate(self) -> dict[str, float]:
        """Scores of the model, on the first process; empty on the others."""
        if self.rank or not len(self.held_out):
            return {}
        return validate(self.model(), self.held_out)

    def model(self) -> BCM:
        """The model as it is now: a copy of the first average of the weights."""
        network = for_any_size(copy.deepcopy(self.averages[0]))
        return BCM(network, device=self.device, dtype="fp32", **self.description)

    @property
    def description(self) -> dict[str, Any]:
        """The arguments of `BCM` that belong to these weights."""
        diagonal = self.config.objective.name != "bct"
        return {**self.scalings, "diagonal": diagonal, "level_maps": self.config.objective.maps > 0}

    def save(self) -> None:
        """Writes the checkpoint and the models: model.safetensors of the first average, model-RATE of each other."""
        generators = self._gather(self.generator.get_state())
        if self.rank:
            return
        state = {
            "steps": self.steps,
            "seconds": self.seconds,
            "losses": self.losses,
            "generators": generators,
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "averages": [average.state_dict() for average in self.averages],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        checkpoints.save(self.folder, state)
        for n, (rate, average) in enumerate(zip(self.config.optimizer.ema, self.averages, strict=True)):
            name = MODEL if n == 0 else f"model-{rate:g}.safetensors"
            with atomic_path(self.folder / name) as path:
                weights.save_model(path, average, self.network_config, **self.description)

    def resume(self) -> None:
        """Goes on from the folder's checkpoint, as if there had been no interruption.

        Raises:
            RestoreError: it is missing, damaged, or of another network, optimizer or number of processes.
        """
        state = checkpoints.load(self.folder)
        made = len(state.get("generators", ()))
        if made not in (0, self.world):
            raise RestoreError(
                f"{self.folder / checkpoints.CHECKPOINT}: was made by {made} processes; go on with as many "
                f"(torchrun --nproc-per-node {made})"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.target.load_state_dict(state["target"])
            for average, tensors in zip(self.averages, state["averages"], strict=True):
                average.load_state_dict(tensors)
            for optimizer, tensors in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(tensors)
            self.generator.set_state(state["generators"][self.rank])
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            raise RestoreError(
                f"{self.folder / checkpoints.CHECKPOINT}: belongs to another configuration; leave --resume out"
            ) from error
        self.steps, self.seconds, self.losses = state["steps"], state["seconds"], state["losses"]

    def _set_rates(self) -> None:
        """Up in `warmup` steps, level until `hold` of the run, then down to zero in a straight line."""
        optimizer = self.config.optimizer
        rise = min(1.0, (self.steps + 1) / max(optimizer.warmup, 1))
        fall = min(1.0, (1 - self.progress) / max(1 - optimizer.hold, 1e-9))
        groups = [group for each in self.optimizers for group in each.param_groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * min(rise, fall)

    @torch.no_grad()
    def _average(self) -> None:
        young = 1 - 1 / (self.steps / 10 + 1)  # averages forget the beginning
        own: list[Tensor] = list(self.network.parameters())
        rates = [*self.config.optimizer.ema, self.decay]
        for average, rate in zip([*self.averages, self.target], rates, strict=True):
            torch._foreach_lerp_([*average.parameters()], own, 1 - min(rate, young))

    def _ready(self, network: nn.Module, distributed: bool = False, compiled: bool = True) -> Callable[..., Tensor]:
        """The network's call, compiled where the run compiles, in its precision and synchronised between processes."""
        run: nn.Module = network
        if compiled and self.compiles:
            logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses CUDA on CPU, loudly
            run = torch.compile(run)  # type: ignore[assignment]
        if distributed and self.world > 1:
            on = [self.device] if self.device.type == "cuda" else None
            run = nn.parallel.DistributedDataParallel(run, device_ids=on)

        def call(*inputs: Tensor) -> Tensor:
            with self._autocast():
                return run(*inputs)

        return call

    def _autocast(self) -> AbstractContextManager[object]:
        if self.bf16:
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    @property
    def compiles(self) -> bool:
        """Whether networks are compiled, in the first step, whose time is part of the budget."""
        run = self.config.run
        if run.compile is not None:
            return run.compile
        long = run.minutes is None or run.minutes >= PAYS
        return self.device.type == "cuda" or (long and shutil.which(os.environ.get("CXX", "g++")) is not None)

    def _agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        """The slowest process's clock and whether any was told to stop: all have to end at the same step."""
        if self.world == 1:
            return seconds, stop
        mine = torch.tensor([seconds, float(stop)], dtype=torch.float64, device=self.device)
        dist.all_reduce(mine, dist.ReduceOp.MAX)
        return float(mine[0]), bool(mine[1])

    def _gather(self, state: Tensor) -> list[Tensor]:
        """The states of all processes' generators, on the first."""
        if self.world == 1:
            return [state]
        states: list[Any] = [None] * self.world
        dist.all_gather_object(states, state)
        return states
