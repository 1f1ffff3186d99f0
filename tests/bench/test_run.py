"""Running a bench: results, reuse of earlier results, and notes."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from bcm_restore.bench import summary
from bcm_restore.bench.base import Contestant
from bcm_restore.bench.cases import cases
from bcm_restore.bench.contestants.ours import FirstEstimate, Ours
from bcm_restore.bench.measures import Measure, measures
from bcm_restore.bench.pictures import Suite, load
from bcm_restore.bench.run import Bench, check
from bcm_restore.bench.store import ResultStore, slug
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import psnr
from bcm_restore.schemes import parse
from bcm_restore.tasks import get

CPU = torch.device("cpu")


class Grey(Contestant):
    """Returns uniform grey and records its calls."""

    def __init__(self, value, name="grey", nfe=0, fails_at=""):
        self.value, self.name, self.family, self.nfe, self.fails_at = value, name, name.partition(",")[0], nfe, fails_at
        self.done = []

    def identity(self):
        return {"value": self.value}

    def restore(self, case, sample):
        if sample.name == self.fails_at:
            raise RestoreError("no idea")
        self.done.append((case.name, sample.name))
        return np.full_like(sample.example.clean, self.value)


def squared(result, example):
    return float(((result.astype(float) - example.clean) ** 2).mean())


COLUMNS = {"error": Measure("error", "", "lower", squared), "fid": Measure("FID", "", "lower", missing="none here")}


@pytest.fixture
def suite(tmp_path):
    folder = tmp_path / "clean"
    folder.mkdir()
    for name, value in (("a", 100), ("b", 140)):
        Image.new("RGB", (64, 64), (value, value, value)).save(folder / f"{name}.png")
    return Suite(load(folder), cases("inpaint", ["box", "half"]))


def execute(suite, contestants, folder, columns=COLUMNS, restart=False):
    check(suite, contestants)
    store = ResultStore(folder, restart)
    try:
        bench = Bench(suite, contestants, columns, store, CPU)
        outcomes = [bench.run(case, lambda record: None) for case in suite.cases]
        return bench, outcomes, summary.summarise({"task": "inpaint", "command": "x"}, bench, columns, outcomes)
    finally:
        store.close()


def test_numbers_of_a_report(suite, tmp_path):
    ours, other = Grey(110, "BCM, NFE 2", nfe=2), Grey(120)
    bench, _, results = execute(suite, [ours, other], tmp_path / "out")
    assert bench.total == 8
    assert [case["name"] for case in results["cases"]] == ["box", "half"]
    first, second = results["cases"][0]["rows"]
    assert first["mean"] == {"error": (10**2 + 30**2) / 2, "fid": None}
    assert first["error"]["error"] == pytest.approx(np.std([100, 900], ddof=1) / math.sqrt(2))
    assert first["versus"] is None
    assert second["versus"]["against"] == "BCM, NFE 2"
    assert second["versus"]["error"]["difference"] == (400 - 100 + 400 - 900) / 2
    assert second["versus"]["error"]["win_rate"] == 0.5
    assert second["pictures"]["b"]["error"] == 400
    assert first["seconds"] > 0
    assert first["megapixels_per_second"] == pytest.approx(64 * 64 / 1e6 / first["seconds"])
    assert results["contestants"][0] == {"name": "BCM, NFE 2", "family": "BCM", "nfe": 2, "identity": {"value": 110}}
    assert results["metrics"]["fid"]["missing"] == "none here"
    assert results["data"]["pictures"][0]["name"] == "a"
    json.dumps(results, allow_nan=False)


def test_each_is_compared_with_bcm_at_its_nfe(suite, tmp_path):
    contestants = [Grey(1, "BCM, NFE 1", 1), Grey(2, "BCM, NFE 4", 4), Grey(3, "x, NFE 1", 1), Grey(4, "y", None)]
    _, _, results = execute(suite, contestants, tmp_path / "out")
    rows = results["cases"][0]["rows"]
    against = [row["versus"] and row["versus"]["against"] for row in rows]
    assert against == [None, None, "BCM, NFE 1", "BCM, NFE 4"]


def test_earlier_results_are_reused(suite, tmp_path):
    execute(suite, [Grey(110)], tmp_path / "out")
    again, new = Grey(110), Grey(111, "new")
    _, _, results = execute(suite, [again, new], tmp_path / "out")
    assert (len(again.done), len(new.done)) == (0, 4)
    assert results["cases"][0]["rows"][0]["mean"]["error"] == 500
    other = Grey(112)
    execute(suite, [other], tmp_path / "out")
    assert len(other.done) == 4
    restarted = Grey(112)
    execute(suite, [restarted], tmp_path / "out", restart=True)
    assert len(restarted.done) == 4


def test_an_interrupted_run_resumes(suite, tmp_path):
    class Stops(Grey):
        def restore(self, case, sample):
            if len(self.done) == 3:
                raise KeyboardInterrupt
            return super().restore(case, sample)

    with pytest.raises(KeyboardInterrupt):
        execute(suite, [Stops(110)], tmp_path / "out")
    with (tmp_path / "out" / "records.jsonl").open("a") as file:
        file.write('{"key": "torn')
    (tmp_path / "out" / "pictures" / "box" / "grey" / "a.png").unlink()
    rest = Grey(110)
    execute(suite, [rest], tmp_path / "out")
    assert rest.done == [("box", "a"), ("half", "b")]
    none = Grey(110)
    execute(suite, [none], tmp_path / "out")
    assert none.done == []


def test_new_metrics_are_measured_on_stored_results(suite, tmp_path):
    execute(suite, [Grey(110)], tmp_path / "out")
    later = {**COLUMNS, "largest": Measure("largest", "", "lower", lambda r, e: float(np.abs(r - 1.0 * e.clean).max()))}
    again = Grey(110)
    _, _, results = execute(suite, [again], tmp_path / "out", later)
    assert again.done == []
    assert results["cases"][0]["rows"][0]["mean"]["largest"] == 20


def test_failed_samples_are_noted_and_left_out(suite, tmp_path):
    _, outcomes, results = execute(suite, [Grey(110, "BCM, NFE 1", 1), Grey(120, fails_at="a")], tmp_path / "out")
    assert outcomes[0].notes == ["grey, a: no idea"]
    assert results["cases"][0]["notes"] == ["grey, a: no idea"]
    row = results["cases"][0]["rows"][1]
    assert list(row["pictures"]) == ["b"]
    assert row["versus"]["error"]["difference"] == 400 - 900


def test_contestants_are_checked_before_any_work(suite, tmp_path):
    class Unfit(Grey):
        def check(self, case, shapes):
            assert [(shape.name, shape.size) for shape in shapes] == [("a", (64, 64)), ("b", (64, 64))]
            raise RestoreError("unfit")

    first = Grey(1)
    with pytest.raises(RestoreError, match="unfit"):
        execute(suite, [first, Unfit(2, "other")], tmp_path / "out")
    with pytest.raises(RestoreError, match="two contestants are called 'grey'"):
        execute(suite, [Grey(1), Grey(2)], tmp_path / "out2")
    assert first.done == []


def test_other_folders_and_folders_in_use_are_rejected(suite, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RestoreError, match="mine: contains other files than a bench's results; give another -o"):
        ResultStore(tmp_path / "mine")
    first = ResultStore(tmp_path / "out")
    with pytest.raises(RestoreError, match="another bench is writing there"):
        ResultStore(tmp_path / "out")
    first.close()
    ResultStore(tmp_path / "out").close()


def test_slugs():
    assert slug("BCM, NFE 4") == "bcm-nfe-4"
    assert slug("quality-10") == "quality-10"
    names = ['BCM, "noise 1, to 0"', 'BCM, "noise 1 to 0"', "été", "ete", "../x", "x" * 100, "x" * 101]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(name and len(name) < 70 and "/" not in name and not name.startswith(".") for name in slugs)


def test_ours_is_the_result_of_the_task(suite, tmp_path, model, portrait):
    folder = tmp_path / "faces"
    folder.mkdir()
    Image.fromarray(portrait[:64, :64]).save(folder / "face.png")
    faces = Suite(load(folder), cases("inpaint", ["text"]))
    ours = Ours("inpaint", model, {"name": "default"}, 2, seed=3)
    by_scheme = Ours("inpaint", model, {"name": "default"}, parse("level 0.1, to 0, fit"))
    sample = faces.sample(faces.cases[0], "face")
    mask = sample.example.inputs["mask"]
    expected = get("inpaint").restore(sample.example.damaged, mask=mask, nfe=2, seed=3, model=model)
    assert np.array_equal(ours.restore(faces.cases[0], sample), expected)
    assert (ours.name, ours.nfe, by_scheme.name, by_scheme.nfe) == ("BCM, NFE 2", 2, 'BCM, "level 0.1, to 0, fit"', 1)
    assert ours.identity() != Ours("inpaint", model, {"name": "default"}, 4, seed=3).identity()
    assert ours.identity() != Ours("inpaint", model, {"name": "other"}, 2, seed=3).identity()
    first = FirstEstimate().restore(faces.cases[0], sample)
    assert np.array_equal(first[~mask], sample.example.clean[~mask])
    assert psnr(first, sample.example.clean) > psnr(sample.example.damaged, sample.example.clean)
    with pytest.raises(RestoreError, match="BCM, NFE 5: inpaint has no default schemes at that NFE; change --nfe"):
        Ours("inpaint", model, {}, 5).check(faces.cases[0], [])


def test_ours_interpolates_to_a_strip(tmp_path, model, portrait):
    folder = tmp_path / "faces"
    folder.mkdir()
    Image.fromarray(portrait[:64, :64]).save(folder / "a.png")
    Image.fromarray(portrait[64:, :64]).save(folder / "b.png")
    pairs = Suite(load(folder), cases("interpolate"))
    sample = pairs.sample(pairs.cases[0], "a_to_b")
    strip = Ours("interpolate", model, {}, 2).restore(pairs.cases[0], sample)
    assert strip.shape == (64, 9 * 64, 3)
    found = {name: measure.function(strip, sample.example) for name, measure in measures("interpolate").items()}
    assert found["path_length"] > 1
    assert 15 < found["psnr_ends"] < 60  # decoded ends, not the pictures themselves
