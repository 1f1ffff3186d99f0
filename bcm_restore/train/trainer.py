"""The training loop: one device per process; torchrun starts several processes."""

import copy
import dataclasses
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
from ..supervised import SupervisedModel, make_process
from ..supervised.model import description
from . import checkpoints
from .catalogue import OBJECTIVES, SUPERVISED, TARGET_DECAY
from .config import Config
from .damage import Pairs
from .data import Crops
from .levels import FlowMap
from .objectives import Batch, draw_known
from .optimizers import make_optimizers
from .teachers import make_teacher
from .validation import validate, validate_supervised

SMOOTHING = 0.99  # of the reported losses
MODEL = "model.safetensors"
COMPILE_MINUTES = 10.0  # shorter runs on a CPU are not compiled: compilation would take most of the time


@dataclass(frozen=True)
class Status:
    """The state of a run.

    Attributes:
        step: steps done.
        seconds: training time, summed over resumed runs.
        progress: fraction of the budget that is spent, 0 to 1.
        losses: running mean of each term.
        speed: images per second, on all devices.
        scores: of a validation at this step; empty otherwise.
    """

    step: int
    seconds: float
    progress: float
    losses: dict[str, float]
    speed: float
    scores: dict[str, float]


class Diverged(RestoreError):  # noqa: N818
    """The loss or its gradient is not finite."""


class Trainer:
    """Trains a network: keeps its averages, its optimizers and its random state.

    Args:
        config: the run's configuration.
        network: the network to train; averages start as copies of it.
        network_config: its constructor arguments.
        crops: the training images; pairs for an objective that is trained for a damage.
        held_out: (N, 3, H, W) clean images to validate on, with damaged ones for such an objective.
        folder: of the checkpoint and the models.
        scalings: sigma_min, sigma_max, sigma_data.
    """

    def __init__(
        self,
        config: Config,
        network: Network,
        network_config: dict[str, Any],
        crops: Crops | Pairs,
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
        self.decay = TARGET_DECAY.get(config.objective.name, 0.0) if decay is None else decay
        maps = config.objective.maps > 0
        self.flow = FlowMap(self._wrap(self.network, distributed=True), **scalings, maps=maps)
        self.target_flow = FlowMap(self._wrap(self.target), **scalings, maps=maps)
        self.teacher = make_teacher(config.teacher, config.data.crop, self.device, self._wrap)
        self.steps, self.seconds = 0, 0.0
        self.losses: dict[str, float] = {}
        self.stop = False  # set by a signal handler: save after this step and raise KeyboardInterrupt
        self.stepping = False  # within a step, when the state is not one to resume from

    def run(self, report: Callable[[Status], None]) -> None:
        """Trains until the budget is spent, with checkpoints and validations at intervals and at the end.

        Raises:
            Diverged: names the step; the checkpoint has the weights from before it.
            KeyboardInterrupt: after saving a checkpoint; within a step, without.
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
            if not self.stepping:
                self.save()
            raise

    @property
    def progress(self) -> float:
        """The fraction of the budget that is spent, 0 to 1."""
        run = self.config.run
        done = self.seconds / (60 * run.minutes) if run.minutes is not None else self.steps / (run.steps or 1)
        return min(done, 1.0)

    def step(self) -> dict[str, float]:
        """Updates the weights once.

        Returns:
            The objective's terms.

        Raises:
            Diverged: the loss is not finite; the weights are unchanged.
        """
        optimizer, self.stepping = self.config.optimizer, True
        self._set_rates()
        terms = self.objective(self.flow, self.target_flow, self._batch(), **self.config.objective.options)
        for each in self.optimizers:
            each.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), optimizer.clip)
        *losses, size = torch.stack([*(term.detach() for term in terms.values()), norm]).tolist()
        if not all(map(math.isfinite, [*losses, size])):
            self.stepping = False
            raise Diverged(f"step {self.steps + 1}: the loss is not finite; lower the learning rates and --resume")
        for each in self.optimizers:
            each.step()
        self.steps += 1
        self._average()
        self.stepping = False
        values = dict(zip(terms, losses, strict=True))
        self.losses = {
            name: SMOOTHING * self.losses.get(name, value) + (1 - SMOOTHING) * value for name, value in values.items()
        }
        return values

    def _batch(self) -> Batch:
        """Draws the images of a step."""
        if isinstance(self.crops, Pairs):
            clean, damaged = self.crops(self.config.run.batch, self.generator)
            return Batch(clean, draw_known(clean, 0, self.generator), self.generator, self.progress, damaged=damaged)
        clean, labels = self.crops(self.config.run.batch, self.generator)
        known = draw_known(clean, self.config.objective.maps, self.generator)
        return Batch(clean, known, self.generator, self.progress, labels, self.teacher)

    def validate(self) -> dict[str, float]:
        """Scores the model in the first process; empty in the others."""
        if self.rank or not len(self.held_out):
            return {}
        model = self.model()
        if isinstance(model, SupervisedModel):
            return validate_supervised(model, self.held_out, self.config.run.seed)
        return validate(model, self.held_out)

    def model(self) -> BCM | SupervisedModel:
        """The current model: a copy of the first average of the weights."""
        network = for_any_size(copy.deepcopy(self.averages[0]))
        if self.config.objective.name in SUPERVISED:
            process = make_process(self.config.objective.name, **self.config.objective.options)
            damage = dataclasses.asdict(self.config.damage)
            return SupervisedModel(network, process, damage=damage, device=self.device, dtype="fp32")
        return BCM(network, device=self.device, dtype="fp32", **self.description)

    @property
    def description(self) -> dict[str, Any]:
        """The description of these weights in a model file: the arguments of `BCM`, or of a supervised model."""
        objective = self.config.objective
        if objective.name in SUPERVISED:
            damage = {"task": self.config.damage.task, "cases": list(self.config.damage.cases)}
            return description(make_process(objective.name, **objective.options), damage)
        return {**self.scalings, "diagonal": objective.name != "bct", "level_maps": objective.maps > 0}

    def save(self) -> None:
        """Writes the checkpoint and the models: model.safetensors of the first average, model-RATE of the others."""
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
        """Resumes from the folder's checkpoint; the result is that of an uninterrupted run.

        Raises:
            RestoreError: the checkpoint is missing, damaged, or of another network, optimizer or number of processes.
        """
        state = checkpoints.load(self.folder)
        made = len(state.get("generators", ()))
        if made not in (0, self.world):
            raise RestoreError(
                f"{self.folder / checkpoints.CHECKPOINT}: comes from a run with {made} processes; "
                f"resume with as many (torchrun --nproc-per-node {made})"
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
                f"{self.folder / checkpoints.CHECKPOINT}: belongs to another configuration; omit --resume"
            ) from error
        self.steps, self.seconds, self.losses = state["steps"], state["seconds"], state["losses"]

    def _set_rates(self) -> None:
        """Sets the learning rates: linear warm-up, constant until `hold` of the run, linear decay to zero."""
        optimizer = self.config.optimizer
        rise = min(1.0, (self.steps + 1) / max(optimizer.warmup, 1))
        fall = min(1.0, (1 - self.progress) / max(1 - optimizer.hold, 1e-9))
        groups = [group for each in self.optimizers for group in each.param_groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * min(rise, fall)

    @torch.no_grad()
    def _average(self) -> None:
        limit = 1 - 1 / (self.steps / 10 + 1)  # shorter averages early in the run
        own: list[Tensor] = list(self.network.parameters())
        rates = [*self.config.optimizer.ema, self.decay]
        for average, rate in zip([*self.averages, self.target], rates, strict=True):
            torch._foreach_lerp_([*average.parameters()], own, 1 - min(rate, limit))

    def _wrap(self, network: nn.Module, distributed: bool = False, compiled: bool = True) -> Callable[..., Tensor]:
        """Wraps a network's call: compiled if the run compiles, autocast, synchronised between processes."""
        run: nn.Module = network
        if compiled and self.compiles:
            logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # warns about missing CUDA on CPUs
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
        """Whether networks are compiled; this happens in the first step and counts towards the budget."""
        run = self.config.run
        if run.compile is not None:
            return run.compile
        long = run.minutes is None or run.minutes >= COMPILE_MINUTES
        return self.device.type == "cuda" or (long and shutil.which(os.environ.get("CXX", "g++")) is not None)

    def _agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        """The slowest process's clock and whether any has to stop: all processes end at the same step."""
        if self.world == 1:
            return seconds, stop
        mine = torch.tensor([seconds, float(stop)], dtype=torch.float64, device=self.device)
        dist.all_reduce(mine, dist.ReduceOp.MAX)
        return float(mine[0]), bool(mine[1])

    def _gather(self, state: Tensor) -> list[Tensor]:
        """Collects the generator states of all processes."""
        if self.world == 1:
            return [state]
        states: list[Any] = [None] * self.world
        dist.all_gather_object(states, state)
        return states
