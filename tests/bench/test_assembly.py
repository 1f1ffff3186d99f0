"""Benches from Python: what the command and benchmarks/record.py put together."""

import json

import pytest
from PIL import Image

from bcm_restore.bench import recorded
from bcm_restore.bench.assembly import BenchSettings, assembled, recorded_settings, run
from bcm_restore.errors import RestoreError


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch, portrait) -> BenchSettings:
    monkeypatch.setenv("BCM_RESTORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "clean").mkdir()
    Image.fromarray(portrait[:64, :64]).save(tmp_path / "clean" / "a.png")
    return BenchSettings(
        task="jpeg",
        data=tmp_path / "clean",
        case=["quality-10"],
        size=64,
        nfe=[1],
        output=tmp_path / "bench",
        command="by hand",
    )


@pytest.mark.slow
def test_a_bench_and_its_report(settings):
    results = run(settings)
    written = json.loads((settings.output / "results.json").read_text())
    assert written["command"] == "by hand" and written["cases"][0]["name"] == "quality-10"
    assert results["cases"][0]["rows"][0]["contestant"] == "BCM, NFE 1"
    assert (settings.output / "report.html").is_file()


def test_whoever_runs_it_hears_of_results_and_cases(settings):
    pixels, cases = [], []
    with assembled(settings) as assembly:
        assembly.run(pixels.append, lambda results, case, notes: cases.append((case, list(notes))))
        assert len(pixels) == assembly.bench.total and set(pixels) == {64 * 64}
    assert cases == [("quality-10", [])]
    assert not (settings.output / "results.json").exists()


def test_recorded_settings_are_read_and_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "folder", lambda: tmp_path)
    (tmp_path / "mine.toml").write_text('task = "jpeg"\nsize = "64"\nnfe = "1,2"\nsolvers = "ddrm,dps"\n')
    (tmp_path / "whole.toml").write_text('task = "inpaint"\nsize = "native"\n')
    mine = recorded_settings("mine", seed=3)
    assert (mine.size, mine.nfe, mine.solvers, mine.seed) == (64, [1, 2], ["ddrm", "dps"], 3)
    assert recorded_settings("whole").size is None
    with pytest.raises(RestoreError, match="no bench 'other' is recorded"):
        recorded_settings("other")
