"""`bcm-restore bench`, as a user runs it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from bcm_restore import images
from bcm_restore.bench import recorded
from bcm_restore.bench.assembly import recorded_settings
from bcm_restore.bench.cases import FURTHER


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, portrait):
    """Two clean pictures, and no weights of metrics."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCM_RESTORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "clean").mkdir()
    Image.fromarray(portrait[:64, :64]).save(tmp_path / "clean" / "a.png")
    Image.fromarray(portrait[64:, 64:]).save(tmp_path / "clean" / "b.png")
    return tmp_path


SMALL = ("bench", "--data", "clean", "--size", "64", "--nfe", "1,2")


@pytest.mark.slow
def test_inpaint(cli, folder):
    result = cli(*SMALL, "--task", "inpaint", "--case", "text", "--case", "box", "--solvers", "ddnm")
    for line in ("inpaint, text", "inpaint, box", "BCM, NFE 1", "BCM, NFE 2", "Telea", "DDNM, NFE 2", "first estimate"):
        assert line in result.stdout
    assert result.stdout.splitlines()[-1] == "report: bench_inpaint/report.html"
    assert (
        "LPIPS (AlexNet): n/a; LPIPS needs AlexNet's weights; 'bcm-restore weights download lpips-alex'"
        in result.stderr
    )
    assert "FID: n/a" in result.stderr
    results = json.loads((folder / "bench_inpaint" / "results.json").read_text())
    assert [case["name"] for case in results["cases"]] == ["box", "text"]
    rows = {row["contestant"]: row for row in results["cases"][1]["rows"]}
    # the numbers of a picture, from the files
    clean, restored = (
        images.read(folder / "bench_inpaint" / "pictures" / "text" / who / "a.png").pixels
        for who in ("clean", "bcm-nfe-2")
    )
    assert np.array_equal(clean, images.read(folder / "clean" / "a.png").pixels)
    error = ((clean.astype(float) - restored) ** 2).mean()
    assert rows["BCM, NFE 2"]["pictures"]["a"]["psnr"] == pytest.approx(10 * np.log10(255**2 / error))
    assert rows["BCM, NFE 2"]["mean"]["psnr"] > rows["Telea"]["mean"]["psnr"]
    assert rows["BCM, NFE 2"]["mean"]["lpips_alex"] is None
    assert rows["Telea"]["versus"]["against"] == "BCM, NFE 2"
    assert results["metrics"]["fid"]["missing"]
    assert (folder / "bench_inpaint" / "report.md").is_file()


@pytest.mark.slow
def test_a_second_run_only_reports(cli, folder):
    arguments = (*SMALL, "--task", "jpeg", "--case", "quality-10", "--json")
    first = json.loads(cli(*arguments).stdout)
    records = (folder / "bench_jpeg" / "records.jsonl").read_bytes()
    second = json.loads(cli(*arguments).stdout)
    assert (folder / "bench_jpeg" / "records.jsonl").read_bytes() == records
    for key in ("cases", "contestants", "data", "metrics"):
        assert first[key] == second[key]
    cli(*arguments, "--overwrite")
    assert (folder / "bench_jpeg" / "records.jsonl").read_bytes() != records


@pytest.mark.slow
def test_other_programs_on_the_exported_pictures(cli, folder):
    cli(*SMALL, "--task", "super-resolve", "--case", "x4", "--export", "exported", "--no-classical")
    damaged = folder / "exported" / "x4" / "damaged"
    (folder / "theirs").mkdir()
    for name in ("a", "b"):
        small = Image.open(damaged / f"{name}.png")
        assert small.size == (16, 16)
        small.resize((64, 64), Image.Resampling.BICUBIC).save(folder / "theirs" / f"{name}.png")
    clean = [np.asarray(Image.open(folder / "clean" / f"{name}.png")) for name in ("a", "b")]
    arr = torch.from_numpy(np.stack(clean)).permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.save({"arr": arr, "label_arr": torch.zeros(2)}, folder / "recon.pt")
    outputs = ("--outputs", "theirs@4=theirs", "--outputs", "i2sb=recon.pt")
    results = json.loads(cli(*SMALL, "--task", "super-resolve", "--case", "x4", *outputs, "--json").stdout)
    rows = {row["contestant"]: row for row in results["cases"][0]["rows"]}
    assert rows["i2sb"]["mean"]["psnr"] == 100
    assert rows["theirs, NFE 4"]["mean"]["psnr"] == pytest.approx(rows["bicubic"]["mean"]["psnr"], abs=1e-9)
    assert rows["theirs, NFE 4"]["seconds"] is None
    (folder / "theirs" / "b.png").unlink()
    line = cli.refuses(folder, *SMALL, "--task", "super-resolve", "--case", "x4", *outputs, "-o", "new")
    assert line.startswith("error: theirs, NFE 4: ")
    assert "'b'" in line or "b.png" in line or " b " in line


def test_own_schemes_masks_and_models(cli, folder):
    mask = np.zeros((64, 64), np.uint8)
    mask[10:20] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    scheme = "level 0.1, to 0, fit"
    results = json.loads(
        cli(*SMALL, "--task", "inpaint", "--mask", "mask.png", "--case", "mask", "--scheme", scheme, "--json").stdout
    )
    [case] = results["cases"]
    assert case["name"] == "mask"
    assert f'BCM, "{scheme}"' in [row["contestant"] for row in case["rows"]]


@pytest.mark.slow
def test_interpolate(cli):
    results = json.loads(cli(*SMALL, "--task", "interpolate", "--json").stdout)
    [case] = results["cases"]
    rows = {row["contestant"]: row["mean"] for row in case["rows"]}
    assert rows["cross-fade"]["path_length"] == pytest.approx(1, abs=0.05)
    assert rows["BCM, NFE 2"]["path_length"] > rows["cross-fade"]["path_length"]


@pytest.mark.slow
def test_compare(cli, folder):
    cli(*SMALL, "--task", "jpeg", "--case", "quality-10", "-o", "one")
    cli(*SMALL, "--task", "jpeg", "--case", "quality-10", "--seed", 1, "-o", "two")
    out = cli("bench", "compare", "one", "two/results.json").stdout
    assert "BCM, NFE 2" in out
    assert "seed" in out
    assert "none" in cli.refuses(folder, "bench", "compare", "one", "none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench"], "bench needs a --task"),
        (["bench", "--task", "paint"], "paint"),
        ([*SMALL, "--task", "inpaint", "--case", "circle"], "circle"),
        (["bench", "--task", "jpeg", "--data", "none"], "none"),
        (["bench", "--task", "jpeg", "--data", "home"], "home"),
        ([*SMALL, "--task", "jpeg", "--nfe", "1,x"], "--nfe 1,x"),
        ([*SMALL, "--task", "jpeg", "--nfe", "5"], "no default schemes at that NFE"),
        ([*SMALL, "--task", "jpeg", "--outputs", "nothing"], "not of the form NAME=PATH or NAME@NFE=PATH"),
        ([*SMALL, "--task", "inpaint", "--solvers", "magic"], "magic"),
        ([*SMALL, "--task", "jpeg", "--solvers", "ddnm"], "DDNM, NFE 1 can do nothing about jpeg; leave it out"),
        ([*SMALL, "--task", "jpeg", "-o", "clean"], "clean: contains other files than a bench's results"),
        ([*SMALL, "--task", "jpeg", "--model", "none"], "'none' is neither"),
    ],
)
def test_refusals(cli, folder, arguments, message):
    (folder / "home").mkdir()
    assert message in cli.refuses(folder, *arguments)


def test_the_help_lists_the_further_cases(cli):
    shown = " ".join(cli("bench", "--help").stdout.replace("│", " ").split())
    names = [case.name for of_task in FURTHER.values() for case in of_task]
    assert f"Cases that are run only if chosen: {', '.join(names)}." in shown


def test_recorded_benches(cli):
    listing = cli("bench", "reproduce").stdout
    for name in recorded.names():
        assert name in listing
        assert recorded_settings(name).task == recorded.options(name)["task"]
    assert {"inpaint", "jpeg", "super-resolve", "interpolate"} <= set(recorded.names())


@pytest.mark.slow
def test_reproduce(cli, folder, monkeypatch):
    cli(*SMALL, "--task", "jpeg", "--case", "quality-10", "-o", "before")
    results = recorded.condensed(json.loads((folder / "before" / "results.json").read_text()))
    (folder / "recorded" / "mine").mkdir(parents=True)
    (folder / "recorded" / "mine.toml").write_text('task = "jpeg"\ncase = ["quality-10"]\nsize = "64"\nnfe = "1,2"\n')
    (folder / "recorded" / "mine" / "clean.json").write_text(json.dumps(results))
    monkeypatch.setattr(recorded, "folder", lambda: folder / "recorded")
    assert cli("bench", "reproduce").stdout == "mine: clean\n"
    out = cli("bench", "reproduce", "mine", "--data", "clean").stdout
    assert "report: bench_mine/report.html" in out
    assert "BCM, NFE 2" in out
    assert "is not recorded on 'scikit-image', only on clean" in cli.refuses(folder, "bench", "reproduce", "mine")
    assert "no bench 'other' is recorded; choose one of mine" in cli.refuses(folder, "bench", "reproduce", "other")


def test_quick_is_small_and_gives_way_to_what_is_typed(cli, monkeypatch):
    seen = []
    monkeypatch.setattr("bcm_restore.cli.bench._run", lambda settings, as_json: seen.append(settings))
    cli("bench", "--task", "jpeg", "--quick")
    cli("bench", "--task", "jpeg", "--quick", "--limit", "3", "--nfe", "8")
    cli("bench", "--task", "denoise", "--quick")
    cli("bench", "--task", "jpeg")
    sizes = [(settings.size, settings.limit, settings.nfe) for settings in seen]
    assert sizes == [(128, 2, [1, 4]), (128, 3, [8]), (128, 2, [1, 4]), (256, None, None)]


@pytest.mark.slow
def test_a_resumed_bench_says_so_and_ends_with_the_answer(cli):
    arguments = (*SMALL, "--task", "jpeg", "--case", "quality-10")
    first, second = cli(*arguments), cli(*arguments)
    assert "resumes" not in first.stderr
    assert "bench_jpeg: resumes; 6 results are there, unchanged ones are kept" in second.stderr
    assert second.stdout.splitlines()[-2].startswith("quality-10: BCM, NFE ")
