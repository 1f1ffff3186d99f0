"""Two reports compared, and the results of others read."""

import json

import pytest
from helpers import reports
from helpers.pages import markdown_tables
from helpers.reports import FEW
from hypothesis import given
from hypothesis import strategies as st

from bcm_restore.bench.report import compare, read, tables
from bcm_restore.errors import RestoreError


def test_compare_has_every_metric_of_both_and_the_difference():
    a, b = reports.make(missing=("fid",)), reports.make(missing=("fid", "lpips_alex"))
    for case in b["cases"]:
        for row in case["rows"]:
            row["mean"]["psnr"] += 0.5
    text = compare(a, b)
    assert "Warning" not in text and "only" not in text
    shown = markdown_tables(text)
    assert len(shown) == 2
    for (header, *lines), case, other in zip(shown, a["cases"], b["cases"], strict=True):
        assert header == ["contestant", "metric", "a", "b", "b - a"]
        expected = []
        for row, its in zip(case["rows"], other["rows"], strict=True):
            for key, title, digits in (
                ("psnr", "PSNR (dB) ↑", 2), ("psnr_hole", "PSNR in the hole (dB) ↑", 2), ("ssim", "SSIM ↑", 4),
            ):  # fmt: skip
                x, y = row["mean"][key], its["mean"][key]
                numbers = [f"{x:.{digits}f}", f"{y:.{digits}f}", f"{y - x:+.{digits}f}"]
                expected.append([row["contestant"], title, *numbers])
            numbers = [f"{row['mean']['lpips_alex']:.4f}", "n/a", "n/a"]
            expected.append([row["contestant"], "LPIPS (AlexNet) ↓", *numbers])
        assert lines == expected


def test_compare_lists_cases_and_contestants_of_only_one():
    a = reports.make(cases=("box", "text"), contestants=FEW)
    b = reports.make(cases=("box", "half", "thick"), contestants=(*FEW[1:], ("DPS", "DPS", 100)))
    lines = compare(a, b).splitlines()
    for line in (
        "only a has the case text",
        "only b has the cases half; thick",
        "only a has the contestant BCM, NFE 1",
        "only b has the contestant DPS",
    ):
        assert line in lines
    assert [row[0] for row in markdown_tables(compare(a, b))[0][1::3]] == ["BCM, NFE 4", "Telea"]


def test_compare_lists_contestants_with_different_identities():
    a, b = reports.make(contestants=FEW), reports.make(contestants=FEW)
    b["contestants"][1]["identity"] |= {"scheme": "to 0", "model": "other"}
    lines = compare(a, b).splitlines()
    assert lines.count("BCM, NFE 4 differs in: scheme, model") == 2
    assert sum("differs in" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda x: x.update(task="jpeg"), "the task differs: inpaint, jpeg"),
        (lambda x: x.update(seed=3), "the seed differs: 0, 3"),
        (lambda x: x["data"].update(name="kodak"), "the data's name differs: scikit-image, kodak"),
        (lambda x: x["data"].update(size="full"), "the data's size differs: 256, full"),
        (lambda x: x["versions"].update({"bcm-restore": "9"}), "the version of bcm-restore differs: 0.1.0, 9"),
        (lambda x: x["data"]["pictures"][1].update(sha256="0"), "pictures of the same name differ: chelsea"),
        (lambda x: x["data"]["pictures"].pop(1), "pictures: only a has the picture chelsea"),
    ],
)
def test_compare_warns_of_other_data(change, warning):
    a, b = reports.make(contestants=FEW), reports.make(contestants=FEW)
    change(b)
    assert [line for line in compare(a, b).splitlines() if "Warning" in line] == [f"Warning: {warning}"]


def test_read_accepts_the_file_or_its_folder(tmp_path, results):
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    assert read(tmp_path) == read(tmp_path / "results.json") == results


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or directory; give a results.json of the bench or its folder"),
        (b"\xff\xfe", "not readable JSON; give a results.json of the bench or its folder"),
        (b'{"version": 1', "not readable JSON; give a results.json of the bench or its folder"),
        (b"[" * 100_000, "not readable JSON; give a results.json of the bench or its folder"),
        (b"[1]", "not results of the bench; give a results.json of the bench or its folder"),
        (b'{"name": "x"}', "not results of the bench; give a results.json of the bench or its folder"),
        (b'{"version": 2}', "results of version 2, but this bcm-restore reads version 1; run the bench again"),
        (
            b'{"version": "a\\nb"}',
            r"results of version 'a\nb', but this bcm-restore reads version 1; run the bench again",
        ),
        (b'{"version": 1, "cases": []}', "parts of the results are missing; run the bench again"),
    ],
)
def test_read_rejects_other_files(tmp_path, content, message):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RestoreError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["version", "task", "cases", "metrics"]), x),
    )
)
def test_read_raises_a_restore_error_for_any_json(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(document))
    with pytest.raises(RestoreError):
        read(path)


def test_known_is_neither_null_nor_nan():
    assert [tables.known(value) for value in (None, float("nan"), 0.0, float("inf"))] == [False, False, True, True]
