"""Two processes under torchrun, on the CPU."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.toys import tiny_trainer
from torch import nn

from bcm_restore.train import checkpoints
from bcm_restore.train.objectives import Batch, draw_known, flow_map

pytestmark = pytest.mark.slow

OPTIMIZER = {"warmup": 1, "clip": 0.5, "muon": 0, "adamw": 0.003}
SCRIPT = """
import sys, time
from pathlib import Path

import torch
import torch.distributed as dist

from helpers.toys import tiny_trainer

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, folder, optimizer = dist.get_rank(), Path(sys.argv[1]), {optimizer}


def save(trainer, name, seen):
    networks = {{"network": trainer.network, "target": trainer.target, "average": trainer.averages[0]}}
    state = {{kind: network.state_dict() for kind, network in networks.items()}}
    state |= {{"steps": trainer.steps, "seconds": trainer.seconds, "seen": seen}}
    torch.save(state, folder / f"{{name}}-{{rank}}.pt")


def run_trainer(name, interrupt=None, resume=False, slow=0.0, **run):
    (folder / name).mkdir(exist_ok=True)
    trainer, seen = tiny_trainer(folder / name, optimizer=optimizer, run=run), []
    if resume:
        trainer.resume()

    def report(status):
        seen.append([status.speed * status.seconds, list(status.scores)])
        time.sleep(slow)
        trainer.stop = trainer.steps == interrupt and rank == 1

    try:
        trainer.run(report)
    except KeyboardInterrupt:
        seen.append("interrupted")
    save(trainer, name, seen)


run_trainer("steps", steps=4)
run_trainer("parts", steps=4, interrupt=1)
run_trainer("parts", steps=4, resume=True)
run_trainer("time", minutes=0.01, slow=0.05 * rank)
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    script = folder / "script.py"
    script.write_text(SCRIPT.format(optimizer=OPTIMIZER))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    here = Path(__file__).parents[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
    process = subprocess.Popen(
        [*torchrun, script, folder], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        errors = process.communicate(timeout=600)[1]
    finally:
        if process.poll() is None:  # they wait for each other
            os.killpg(process.pid, signal.SIGTERM)  # torchrun ends its workers
            process.wait(30)
    assert process.returncode == 0, errors
    return folder


def saved(folder, name):
    """The saved state of each process."""
    return [torch.load(folder / f"{name}-{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", ["steps", "parts", "time"])
def test_both_processes_end_with_the_same_weights_at_the_same_step(ran, name):
    first, second = saved(ran, name)
    assert first["steps"] == second["steps"] > 0
    assert first["seconds"] == second["seconds"]
    for kind in ("network", "target", "average"):
        for key, tensor in first[kind].items():
            assert torch.equal(tensor, second[kind][key]), (kind, key)


def test_both_processes_spend_the_time_budget(ran):
    assert saved(ran, "time")[0]["seconds"] >= 0.6


def test_the_first_process_validates_and_reports_the_total_speed(ran):
    first, second = (state["seen"] for state in saved(ran, "steps"))
    assert [images for images, _ in first] == pytest.approx([8, 16, 24, 32])
    assert [bool(scores) for _, scores in first] == [False, False, False, True]
    assert not any(scores for _, scores in second)


def test_a_stop_of_one_process_stops_both_and_the_run_resumes_exactly(ran):
    whole, parts = saved(ran, "steps"), saved(ran, "parts")
    for rank in range(2):
        assert parts[rank]["steps"] == 4
        for key, tensor in whole[rank]["network"].items():
            assert torch.equal(tensor, parts[rank]["network"][key]), key
    assert len(checkpoints.load(ran / "parts")["generators"]) == 2


def test_two_processes_train_on_the_mean_of_their_gradients(ran, tmp_path):
    one = tiny_trainer(tmp_path, optimizer=OPTIMIZER, run={"steps": 4})
    alone = tiny_trainer(tmp_path, optimizer=OPTIMIZER, run={"steps": 4})
    generators = [torch.Generator().manual_seed(7919 * rank) for rank in range(2)]
    for _ in range(4):
        alone.step()
        one._set_rates()
        one.network.zero_grad()
        for generator in generators:
            clean, _ = one.crops(4, generator)
            batch = Batch(clean, draw_known(clean, 0.4, generator), generator, one.progress)
            (sum(flow_map(one.flow, one.target_flow, batch).values()) / 2).backward()
        nn.utils.clip_grad_norm_(one.network.parameters(), 0.5)
        one.optimizers[0].step()
        one.steps += 1
        one._average()
    both = saved(ran, "steps")[0]["network"]
    distance = lambda network: sum((both[k] - v).square().sum() for k, v in network.state_dict().items()).sqrt()  # noqa: E731
    assert distance(one.network) < 0.02 * distance(alone.network)
