"""Results on a CUDA device: those of the CPU, up to the precision."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import bcm_restore
from bcm_restore import images, tasks
from bcm_restore.metrics import psnr
from bcm_restore.model import BCM
from bcm_restore.train import start
from bcm_restore.train.config import make_config

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(data.astronaut()[:192, 160:352])


def on(device, dtype):
    return bcm_restore.load_model(device=device, dtype=dtype)


@pytest.mark.parametrize(("dtype", "agreement"), [("fp32", 45), ("bf16", 35), ("fp16", 40)])
def test_every_task_agrees_with_the_cpu(photo, tmp_path, dtype, agreement):
    mask = np.zeros(photo.shape[:2], bool)
    mask[::16] = mask[40:80, 40:80] = True
    Image.fromarray(photo).save(tmp_path / "photo.jpg", quality=10)
    decoded, coefficients = images.read(tmp_path / "photo.jpg").pixels, images.jpeg_coefficients(tmp_path / "photo.jpg")
    for name, image, inputs in (
        ("inpaint", photo, {"mask": mask}),
        ("jpeg", decoded, {"coefficients": coefficients}),
        ("jpeg", decoded, {}),
        ("super-resolve", photo[:64, :64].copy(), {"scale": 2}),
        ("inpaint", photo, {"mask": mask, "scheme": "noise 0.5, to 0, fit"}),  # the same noise on both
    ):
        cpu, cuda = (
            tasks.get(name).restore(image, model=model, **inputs) for model in (on("cpu", "fp32"), on("cuda", dtype))
        )
        assert psnr(cuda, cpu) > agreement, name
    frames = [
        tasks.get("interpolate").restore((photo, decoded), frames=3, nfe=2, model=model)[1]
        for model in (on("cpu", "fp32"), on("cuda", "fp32"))
    ]
    assert psnr(*frames) > 40


def test_results_are_on_the_device_of_the_input(photo):
    image = torch.from_numpy(photo).permute(2, 0, 1).cuda() / 255
    mask = torch.zeros(image.shape[1:], dtype=torch.bool, device="cuda")
    mask[::16] = True
    restored = tasks.get("inpaint").restore(image, mask=mask, model=on("cuda", "auto"))
    assert restored.device == image.device
    assert torch.equal(restored[:, ~mask], image[:, ~mask])


@pytest.mark.parametrize("device", ["cuda", "all"])
def test_pictures_of_one_size_are_restored_together(cli, save, photo, tmp_path, monkeypatch, device):
    pytest.importorskip("typer")
    for n in range(5):
        save(f"album/{n}.jpg", np.roll(photo, 30 * n, 1), quality=20)
    evaluate, batches = BCM._evaluate, []

    def counting(self, x, *arguments):
        batches.append(len(x))
        return evaluate(self, x, *arguments)

    monkeypatch.setattr(BCM, "_evaluate", counting)
    run = ("jpeg-restore", tmp_path / "album", "--nfe", "1")
    cli(*run, "-o", tmp_path / "cuda", "--device", device)
    if device == "cuda" or torch.cuda.device_count() == 1:  # otherwise other processes do the work
        assert max(batches) > 1
    cli(*run, "-o", tmp_path / "cpu", "--device", "cpu")
    for n in range(5):
        pair = [images.read(tmp_path / folder / f"{n}.png").pixels for folder in ("cuda", "cpu")]
        assert psnr(*pair) > 35


def test_training_on_the_device(tmp_path, photo):
    """bf16, with pictures in device memory; the saved model runs on the CPU."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(4):
        Image.fromarray(np.roll(photo, 30 * n, 0)).save(folder / f"{n}.png")
    network = {"channels": [16, 16], "blocks": [1, 1], "middle": 1, "embedding": 16}
    data = {"sources": [str(folder)], "crop": 32, "held_out": 1}
    for name in ("diffusion", "bct", "flow-map"):
        run = {"steps": 20, "batch": 16, "compile": name == "flow-map"}  # compiling all takes a minute
        config = make_config({"network": network, "data": data, "objective": {"name": name}, "run": run})
        (tmp_path / name).mkdir()
        trainer = start.prepare(config, tmp_path / name, "cuda").trainer
        assert trainer.crops.pixels.device.type == "cuda"
        trainer.run(lambda status: None)
        assert bcm_restore.load_model(tmp_path / name / "model.safetensors", device="cpu").level_maps
