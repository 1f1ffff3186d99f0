"""`bcm-restore tune`."""

import json

import numpy as np
import pytest
import skimage.data

from bcm_restore import schemes, tasks, weights
from bcm_restore.tuning import tables
from bcm_restore.tuning.evaluation import Evaluator
from bcm_restore.tuning.search import Search

SCHEME = "level 0.25, noise 0.3, mean, fit"


@pytest.fixture
def album(save, tmp_path):
    """Two photographs of 72x72 and one that is too small."""
    whole = skimage.data.astronaut()
    for n, (y, x) in enumerate([(60, 180), (200, 60)]):
        save(f"album/{n}.png", np.ascontiguousarray(whole[y : y + 72, x : x + 72]))
    save("album/small.png", whole[:20, :20])
    return tmp_path / "album"


@pytest.fixture
def tune(cli, album, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments, task="super-resolve", **options):
        return cli("tune", "--task", task, "--data", album, "--crop", 64, "--minutes", 0.02, *arguments, **options)

    return run


@pytest.fixture
def only_starts(monkeypatch):
    """Searches end with what they begin with, however fast the machine is."""
    monkeypatch.setattr(Search, "_descend", lambda search, plan: plan)


@pytest.mark.slow
def test_writes_what_super_resolve_takes(tune, cli, tmp_path, photo):
    result = tune("--variant", "x4", "--nfe", "1,2")
    assert "1 of 3 pictures left out" in result.stderr
    assert "only 2 pictures; 12 or more rank schemes more reliably" in result.stderr
    table = tables.read_table((tmp_path / "super-resolve.toml").read_text())
    assert list(table) == [weights.DEFAULT]
    assert {nfe: schemes.parse(text).nfe for nfe, text in table[weights.DEFAULT]["x4"].items()} == {1: 1, 2: 2}
    default = tasks.get("super-resolve").schemes()[weights.DEFAULT]["x4"][1]
    assert f"default: {default}" not in result.stdout  # its score is in between
    assert f": {default}" in result.stdout
    assert "over the first estimate" in result.stdout
    *_, wrote, use = result.stdout.splitlines()
    assert wrote == "wrote super-resolve.toml"
    command, text = use.removeprefix("use: bcm-restore ").split(" photo.png --scale 4 --scheme ")
    assert text.strip('"') == table[weights.DEFAULT]["x4"][2]
    cli(command, photo, "--scale", 4, "--scheme", text.strip('"'))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "cases"),
    [("inpaint", {"thin", "wide"}), ("jpeg", {"any"}), ("super-resolve", {"x2", "x3", "x4", "x8"})],
)
def test_every_task_and_json(tune, tmp_path, task, cases):
    target = tmp_path / "out" / "mine.toml"
    document = json.loads(tune("--nfe", 1, "--pictures", 1, "--json", "-o", target, task=task).stdout)
    assert (document["task"], document["metric"], document["output"]) == (task, "psnr", str(target))
    assert {search["case"] for search in document["searches"]} == cases
    for search in document["searches"]:
        assert search["default"]["scheme"] in [trial["scheme"] for trial in search["trials"]]
        assert search["best"]["score"] == max(trial["score"] for trial in search["trials"])
        assert search["frontier"][0]["seconds"] > 0
    assert target.is_file()


@pytest.mark.usefixtures("only_starts")
def test_starts_from_the_schemes_of_the_file_and_keeps_the_rest(tune, tmp_path):
    target = tmp_path / "mine.toml"
    target.write_text(
        f'# Mine.\n\n[other.x4]\n1 = "{SCHEME}"\n\n[{weights.DEFAULT}.x4]\n1 = "{SCHEME}"\n8 = "{SCHEME}"\n'
    )
    document = json.loads(tune("--variant", "x4", "--nfe", 1, "--json", "-o", target, "--minutes", 10).stdout)
    assert SCHEME in [trial["scheme"] for trial in document["searches"][0]["trials"]]
    after = tables.read_table(target.read_text())
    assert after["other"] == {"x4": {1: SCHEME}}
    assert after[weights.DEFAULT]["x4"] == {1: document["searches"][0]["best"]["scheme"], 8: SCHEME}
    assert target.read_text().startswith("# Mine.\n")
    assert [path.name for path in tmp_path.glob("*.toml*")] == ["mine.toml"]
    assert not list(tmp_path.glob(".*.part"))


def test_the_same_seed_finds_the_same_scores(tune):
    def scores():
        run = json.loads(tune("--variant", "x4", "--nfe", 1, "--json", "--minutes", 0).stdout)
        return [trial["metrics"] for trial in run["searches"][0]["trials"]]

    assert scores() == scores()


@pytest.mark.usefixtures("only_starts")
def test_start_and_mixed_metric(tune):
    result = tune(
        "--variant", "x4", "--nfe", 1, "--metric", "psnr=1,ssim=10", "--start", SCHEME, "--minutes", 10, "--json"
    )
    search = json.loads(result.stdout)["searches"][0]
    assert SCHEME in [trial["scheme"] for trial in search["trials"]]
    best = search["best"]
    assert best["score"] == pytest.approx(best["metrics"]["psnr"] + 10 * best["metrics"]["ssim"])


def test_results_are_printed_if_they_cannot_be_written(tune, tmp_path):
    (tmp_path / "file").write_text("")
    result = tune("--variant", "x4", "--nfe", 1, "--minutes", 0, "-o", "file/x.toml", status=2)
    assert "default: " in result.stdout
    assert "file/x.toml: cannot be written" in result.stderr.splitlines()[-1]


def test_schemes_that_draw_into_flat_areas_are_reported(tune, monkeypatch, tmp_path):
    monkeypatch.setattr(Evaluator, "flat_error", lambda evaluator, scheme: 2.5)
    result = tune("--variant", "x4", "--nfe", 1, "--minutes", 0, "--pictures", 2)
    assert "1 schemes tried, 1 draw into flat areas" in result.stdout
    assert result.stdout.count("dB, draws 2.5 of 255 into flat areas") == 2  # the default, which is the best as well
    assert "rank schemes" not in result.stderr
    assert "wrote super-resolve.toml" in result.stdout


def test_ctrl_c_keeps_what_was_found(tune, tmp_path, monkeypatch):
    calls, trial = [], Evaluator.trial

    def interrupted(evaluator, scheme):
        calls.append(scheme)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return trial(evaluator, scheme)

    monkeypatch.setattr(Evaluator, "trial", interrupted)
    result = tune("--variant", "x4", "--nfe", 1, "--minutes", 1, status=130)
    assert "2 schemes tried" in result.stdout
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert tables.read_table((tmp_path / "super-resolve.toml").read_text())[weights.DEFAULT]["x4"][1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "interpolate"], "interpolate cannot be tuned"),
        (["--task", "jpg"], "jpeg"),
        (["--variant", "x5"], "--variant x5"),
        (["--nfe", "1,x"], "--nfe"),
        (["--nfe", "0"], "--nfe"),
        (["--metric", "psn"], "--metric"),
        (["--start", "level 0.1, too 0"], "did you mean 'to'"),
        (["--start", "level 0.1, to 0, fit"], "--nfe 1"),
        (["--start", "noise 0.1"], "leaves noise"),
        (["--start", "noise 99, to 1, to 0.5, to 0.2, to 0"], "levels end at 80"),
        (["--model", "nope"], "nope"),
        (["--device", "tpu9"], "tpu9"),
        (["--data", "nowhere"], "nowhere"),
        (["-o", "notes.toml"], "notes.toml"),
        (["-o", "album/0.png"], "0.png"),
        (["-o", "album"], "album"),
        (["--crop", "9"], "--crop"),
    ],
)
def test_refusals(cli, album, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / "album" / "small.png").unlink()
    base = ["--task", "super-resolve", "--data", album, "--variant", "x4", "--crop", 64, "--pictures", 2]
    assert said in cli.refuses(tmp_path, "tune", *base, *arguments)


def test_pictures_that_are_all_too_small(cli, album, tmp_path):
    line = cli.refuses(tmp_path, "tune", "--task", "jpeg", "--data", album / "small.png", "-o", tmp_path / "x.toml")
    assert "64x64" in line
