import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcm_restore.errors import RestoreError
from bcm_restore.networks import build
from bcm_restore.train import config as module
from bcm_restore.train.catalogue import OBJECTIVES, SUPERVISED
from bcm_restore.train.config import Config, make_config, read_config

RECIPES = Path(__file__).parents[2] / "benchmarks" / "recipes"
MINIMAL = {"network": {}, "run": {"steps": 5}}
SECTIONS = ("data", "objective", "teacher", "optimizer", "run")


def with_value(key, value):
    """The minimal document with one value set; `key` is "table.key"."""
    table, _, name = key.partition(".")
    document = {k: dict(v) for k, v in MINIMAL.items()}
    if not name:
        return document | {table: value}
    document.setdefault(table, {})[name] = value
    return document


def toml(document):
    """Formats the document as TOML; numbers, strings, lists and booleans are the same in JSON."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in document.items() if not isinstance(value, dict)]
    for name, table in document.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines)


def test_missing_keys_have_the_defaults():
    config = make_config(MINIMAL)
    assert config.run.steps == 5 and config.run.minutes is None
    assert config.network == {} and config.start is None
    for name in ("data", "optimizer", "objective", "teacher"):
        assert getattr(config, name) == getattr(Config(), name)
    assert dataclasses.replace(config.run, steps=None) == Config().run


def test_a_file_is_read(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        """
start = "bcm-photo-small"
[network]
channels = [8, 16]
[data]
sources = ["photos", "more.tar"]
held_out = 0
[objective]
name = "flow-map"
maps = 1
to_min = 0.5
[teacher]
kind = "model"
source = "bcm-photo"
levels = [0.03, 1]
weight = [1, 0.25]
[optimizer]
ema = [0.999, 0.99]
[run]
minutes = 90
""",
        encoding="utf-8",
    )
    config = read_config(path)
    assert config.start == "bcm-photo-small" and config.network == {"channels": [8, 16]}
    assert config.data.sources == ("photos", "more.tar") and config.data.held_out == 0
    assert config.objective == module.Objective("flow-map", 1.0, {"to_min": 0.5})
    assert config.teacher == module.Teacher("model", "bcm-photo", (0.03, 1.0), 0.7, (1.0, 0.25))
    assert config.optimizer.ema == (0.999, 0.99)
    assert config.run.minutes == 90.0 and isinstance(config.run.minutes, float) and config.run.steps is None


shares, decays = st.floats(0, 1), st.floats(0, 1, exclude_max=True)
positive, paths = st.floats(0.01, 1e6), st.text('abc/._é "\\', min_size=1, max_size=9)
tables = {
    "data": {
        "sources": st.lists(paths, max_size=3),
        "crop": st.integers(1, 512),
        "half": shares,
        "held_out": st.integers(0, 99),
        "labels": st.booleans(),
    },
    "objective": {"name": st.sampled_from(sorted({*OBJECTIVES} - {*SUPERVISED})), "maps": shares},
    "teacher": {
        "kind": st.sampled_from(module.TEACHERS),
        "source": paths,
        "levels": st.lists(positive, min_size=2, max_size=2, unique=True).map(sorted),
        "share": shares,
        "weight": st.lists(shares, min_size=2, max_size=2),
        "mirrored": st.booleans(),
        "ffdnet": st.lists(positive, min_size=2, max_size=2, unique=True).map(sorted),
    },
    "optimizer": {
        "muon": positive,
        "adamw": positive,
        "warmup": st.integers(0, 999),
        "hold": shares,
        "clip": positive,
        "ema": st.lists(decays, min_size=1, max_size=3, unique=True),
        "target": decays,
    },
    "run": {
        "batch": st.integers(1, 999),
        "precision": st.sampled_from(["auto", "fp32", "bf16"]),
        "compile": st.booleans(),
        "checkpoint": positive,
        "validate": positive,
        "seed": st.integers(0, 2**31),
    },
}
documents = st.tuples(
    st.fixed_dictionaries({name: st.fixed_dictionaries({}, optional=table) for name, table in tables.items()}),
    st.one_of(st.fixed_dictionaries({"steps": st.integers(1, 10**6)}), st.fixed_dictionaries({"minutes": positive})),
    st.one_of(st.fixed_dictionaries({"start": paths}), st.fixed_dictionaries({"network": st.just({"middle": 2})})),
).map(lambda parts: parts[2] | parts[0] | {"run": parts[0]["run"] | parts[1]})


def with_valid_teacher(document):
    """The document, with a complete teacher and an objective that can have one."""
    teacher, kind = dict(document["teacher"]), document["teacher"].get("kind", "none")
    if kind in module.SOURCES:
        teacher.setdefault("source", "some")
    if kind == "ffdnet":
        teacher.pop("ffdnet", None)
    if kind == "none" or document["objective"].get("name") == "bct":
        teacher["kind"] = "none"
        for name in ("source", "mirrored", "ffdnet"):
            teacher.pop(name, None)
    return document | {"teacher": teacher}


@settings(deadline=None, max_examples=100)
@given(documents.map(with_valid_teacher))
def test_every_value_of_a_document_is_read(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("config") / "run.toml"
    path.write_text(toml(document), encoding="utf-8")
    config = read_config(path)
    assert config == make_config(document)
    for key, value in document.items():
        if key not in SECTIONS:
            assert getattr(config, key) == value
            continue
        for name, inner in value.items():
            assert getattr(getattr(config, key), name) == (tuple(inner) if isinstance(inner, list) else inner)
        for left_out in {f.name for f in dataclasses.fields(getattr(config, key))} - set(value):
            assert getattr(getattr(config, key), left_out) == getattr(getattr(Config(), key), left_out)


def test_the_test_above_covers_every_key():
    for name, table in tables.items():
        known = {f.name for f in dataclasses.fields(getattr(Config(), name))} - {"options", "steps", "minutes"}
        assert known == set(table)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "sources",
            [],
            "'sources' is not a known key; known keys: damage, data, network, objective, optimizer, run, start, ",
        ),
        ("run.step", 5, "'run.step' is not a known key; known keys: batch, checkpoint, compile, minutes"),
        ("data", 5, r"'data' is a table; write \[data\]"),
        ("objective", "bct", r"'objective' is a table; write \[objective\]"),
        ("start", 5, "'start' is 5; expected a string"),
        ("network", "ConvUNet", "'network' is 'ConvUNet'; expected a table"),
        ("data.crop", 64.0, "'data.crop' is 64.0; expected an integer"),
        ("data.crop", True, "'data.crop' is True; expected an integer"),
        ("data.labels", 1, "'data.labels' is 1; expected true or false"),
        ("data.sources", "photos", "'data.sources' is 'photos'; expected a list"),
        ("data.sources", ["photos", 5], "'data.sources' is 5; expected a string"),
        ("data.half", "some", "'data.half' is 'some'; expected a number"),
        ("data.half", False, "'data.half' is False; expected a number"),
        ("data.half", 1.01, "'data.half' is 1.01; it must be between 0 and 1"),
        ("optimizer.ema", 0.99, "'optimizer.ema' is 0.99; expected a list"),
        ("optimizer.ema", ["0.99"], "'optimizer.ema' is '0.99'; expected a number"),
        ("optimizer.ema", [], "'optimizer.ema' and 'optimizer.target' are decays"),
        ("optimizer.ema", [0.9, 1.0], "'optimizer.ema' and 'optimizer.target' are decays"),
        ("optimizer.ema", [0.9, 0.9], r"'optimizer.ema' is \[0.9, 0.9\]; give each decay once"),
        ("objective.diagonal", -0.1, "'objective.diagonal' is -0.1; it must be between 0 and 1"),
        ("optimizer.target", -0.1, "'optimizer.ema' and 'optimizer.target' are decays"),
        ("optimizer.hold", -0.5, "'optimizer.hold' is -0.5; it must be between 0 and 1"),
        ("objective.maps", 2, "'objective.maps' is 2; it must be between 0 and 1"),
        ("objective.maps", float("nan"), "'objective.maps' is nan; it must be between 0 and 1"),
        ("objective.name", "ddpm", "'objective.name' is 'ddpm'; choose one of diffusion, bct, flow-map"),
        ("objective.first", 10, "'objective.first' is not an option of flow-map; its options: diagonal, round_trips"),
        ("objective.options", {}, "'objective.options' is not an option of flow-map"),
        ("run.steps", 0, "'run.steps' is 0; it must be above 0"),
        ("data.held_out", -1, "'data.held_out' is -1; it must be at least 0"),
        ("optimizer.muon", -0.1, "'optimizer.muon' is -0.1; it must be at least 0"),
        ("optimizer.adamw", float("nan"), "'optimizer.adamw' is nan; it must be at least 0"),
        ("optimizer.warmup", -5, "'optimizer.warmup' is -5; it must be at least 0"),
        ("optimizer.clip", 0, "'optimizer.clip' is 0; it must be above 0"),
        ("objective.diagonal", "half", "'objective.diagonal' is 'half'; expected a number"),
        ("teacher", "ffdnet", r"'teacher' is a table; write \[teacher\]"),
        (
            "teacher.name",
            "ffdnet",
            "'teacher.name' is not a known key; known keys: ffdnet, kind, levels, mirrored, share, source, weight$",
        ),
        ("teacher.kind", "bm3d", "'teacher.kind' is 'bm3d'; choose one of none, ffdnet, model, deepinv$"),
        ("teacher.kind", True, "'teacher.kind' is True; expected a string$"),
        ("teacher.source", "DRUNet", "'teacher.source' needs a 'teacher.kind'; choose one of ffdnet, model, deepinv$"),
        ("teacher.kind", "model", "'teacher.kind' is 'model'; give its name or file as 'teacher.source'$"),
        ("teacher.kind", "deepinv", "'teacher.kind' is 'deepinv'; give the denoiser's class \\(DRUNet\\) as 'teacher"),
        ("teacher.levels", 0.05, "'teacher.levels' is 0.05; expected a list$"),
        ("teacher.levels", [0.05], r"'teacher.levels' is \[0.05\]; give the lowest and the highest, above 0$"),
        ("teacher.levels", [0, 1], r"'teacher.levels' is \[0.0, 1.0\]; give the lowest and the highest, above 0$"),
        ("teacher.levels", [1, 0.1], r"'teacher.levels' is \[1.0, 0.1\]; give the lowest and the highest, above 0$"),
        ("teacher.levels", [1, 1], r"'teacher.levels' is \[1.0, 1.0\]; give the lowest and the highest, above 0$"),
        ("teacher.levels", [1, float("inf")], r"'teacher.levels' is \[1.0, inf\]; give the lowest and the highest"),
        ("teacher.levels", [float("nan"), 1], r"'teacher.levels' is \[nan, 1.0\]; give the lowest and the highest"),
        ("teacher.weight", [1], r"'teacher.weight' is \[1.0\]; give two numbers between 0 and 1$"),
        ("teacher.weight", [1, 1.1], r"'teacher.weight' is \[1.0, 1.1\]; give two numbers between 0 and 1$"),
        ("teacher.weight", [float("nan"), 1], r"'teacher.weight' is \[nan, 1.0\]; give two numbers between 0 and 1$"),
        ("teacher.mirrored", True, "'teacher.mirrored' needs a 'teacher.kind'; choose one of ffdnet, model, deepinv$"),
        ("teacher.weight", [-0.1, 0], r"'teacher.weight' is \[-0.1, 0.0\]; give two numbers between 0 and 1$"),
        ("teacher.share", 1.5, "'teacher.share' is 1.5; it must be between 0 and 1$"),
        ("run.batch", -1, "'run.batch' is -1; it must be above 0"),
        ("data.crop", 0, "'data.crop' is 0; it must be above 0"),
        ("run.precision", "fp16", "'run.precision' is 'fp16'; choose auto, fp32 or bf16"),
    ],
)
def test_invalid_keys_and_values_are_named_in_the_error(key, value, message):
    with pytest.raises(RestoreError, match=f"^{message}"):
        make_config(with_value(key, value))


def test_a_teacher_needs_an_objective_with_a_diagonal():
    document = MINIMAL | {"teacher": {"kind": "ffdnet"}}
    assert make_config(document | {"objective": {"name": "diffusion"}}).teacher.kind == "ffdnet"
    with pytest.raises(RestoreError, match=r"^the objective bct has no diagonal to teach; omit \[teacher\]$"):
        make_config(document | {"objective": {"name": "bct"}})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "model", "source": "m", "ffdnet": [0.5, 0.1]}, r"is \[0.5, 0.1\]; give the lowest and the highest, "),
        ({"kind": "ffdnet", "ffdnet": [0.1, 0.5]}, "averages another teacher's mean with FFDNet's; omit it$"),
    ],
)
def test_a_teacher_is_averaged_with_ffdnet_at_some_levels_and_not_with_itself(table, message):
    with pytest.raises(RestoreError, match=f"^'teacher.ffdnet' {message}"):
        make_config(MINIMAL | {"teacher": table})


@pytest.mark.parametrize("run", [{}, {"steps": 5, "minutes": 1.0}])
def test_exactly_one_budget_is_required(run):
    with pytest.raises(RestoreError, match=r"^give either 'run\.minutes' or 'run\.steps'$"):
        make_config({"network": {}, "run": run})


@pytest.mark.parametrize("minutes", [0, -1.0, float("nan")])
def test_minutes_must_be_positive(minutes):
    with pytest.raises(RestoreError, match=r"^'run\.minutes' is .*; it must be above 0$"):
        make_config({"network": {}, "run": {"minutes": minutes}})


def test_a_start_or_a_network_is_required():
    with pytest.raises(RestoreError, match=r"^give a \[network\], or a model or checkpoint to 'start' from$"):
        make_config({"run": {"steps": 5}})


@pytest.mark.parametrize("name", sorted({*OBJECTIVES} - {*SUPERVISED}))
def test_an_objectives_options_are_its_keyword_parameters(name):
    known = module.options(name)
    assert {"mean", "deviation"} <= set(known) and "batch" not in known
    config = make_config(MINIMAL | {"objective": {"name": name, "mean": -2.0}})
    assert config.objective.options == {"mean": -2.0}


def test_supervised_objectives_need_a_damage_and_the_others_none():
    damage = {"task": "jpeg", "cases": ["quality-10"]}
    config = make_config(MINIMAL | {"objective": {"name": "i2sb", "ode": True}, "damage": damage})
    assert (config.objective.maps, config.objective.options) == (0.0, {"ode": True})
    assert (config.damage.task, config.damage.cases) == ("jpeg", ("quality-10",))
    with pytest.raises(RestoreError, match=r"^the objective palette needs \[damage\]: give its 'task' and 'cases'$"):
        make_config(MINIMAL | {"objective": {"name": "palette"}, "damage": {"task": "jpeg"}})
    with pytest.raises(RestoreError, match=r"^the objective bct is not trained for a damage; omit \[damage\]$"):
        make_config(MINIMAL | {"objective": {"name": "bct"}, "damage": damage})
    with pytest.raises(RestoreError, match=r"^the objective i2sb has no level maps; set 'objective.maps' to 0$"):
        make_config(MINIMAL | {"objective": {"name": "i2sb", "maps": 0.4}, "damage": damage})
    with pytest.raises(RestoreError, match=r"^the objective i2sb has no diagonal to teach; omit \[teacher\]$"):
        make_config(MINIMAL | {"objective": {"name": "i2sb"}, "damage": damage, "teacher": {"kind": "ffdnet"}})


def test_an_unreadable_file_is_named_in_the_error(tmp_path):
    path = tmp_path / "run.toml"
    for content, message in (
        (None, "no such file or directory$"),
        (b"steps = = 5", r"not a TOML file \(.*line 1"),
        (b"a = '\xff'", "not a TOML file"),
        (b"[run]\nstep = 5", r"'run\.step' is not a known key"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(RestoreError, match=f"^{path}: {message}"):
            read_config(path)
    with pytest.raises(RestoreError, match=r"is a directory$"):
        read_config(tmp_path)


@settings(deadline=None, max_examples=100)
@given(
    st.recursive(
        st.one_of(st.integers(-3, 3), st.floats(), st.booleans(), st.text(max_size=3)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SECTIONS, "ema", "name"]), inner),
        max_leaves=6,
    ),
    st.sampled_from([f"{name}.{key}" for name, table in tables.items() for key in table] + [*SECTIONS, "start"]),
)
def test_any_value_is_accepted_or_raises_a_restore_error(value, key):
    try:
        make_config(with_value(key, value))
    except RestoreError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/*.toml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_packaged_models_can_be_read(path):
    config = read_config(path)
    assert config.teacher.kind != "none"
    if config.network:
        arguments = {key: value for key, value in config.network.items() if key != "architecture"}
        build(config.network["architecture"], arguments)
