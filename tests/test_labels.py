"""Labels: indices, and the names of ImageNet's classes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcm_restore import labels, package_data
from bcm_restore.errors import RestoreError
from bcm_restore.labels import class_names, label_index

KNOWN = {
    0: "tench",
    1: "goldfish",
    207: "golden retriever",
    281: "tabby",
    388: "giant panda",
    985: "daisy",
    999: "toilet tissue",
}
SHARED = {"crane": (134, 517), "cardigan": (264, 474), "maillot": (638, 639)}  # the first name of two classes


def refused(label, classes=1000):
    with pytest.raises(RestoreError) as caught:
        label_index(label, classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_names():
    assert len(class_names()) == 1000
    assert {index: class_names()[index][0] for index in KNOWN} == KNOWN
    assert class_names()[0] == ("tench", "Tinca tinca")
    assert class_names()[281] == ("tabby", "tabby cat")
    assert all(name == name.strip() != "" and name.isascii() for names in class_names() for name in names)


def test_names_equal_torchvisions():
    pytest.importorskip("torchvision")
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    ours = [names[0] for names in class_names()]
    other = [index for index in range(1000) if ours[index] != _IMAGENET_CATEGORIES[index]]
    # torchvision renamed one of each pair of equal names
    assert other == [134, 639]
    assert [_IMAGENET_CATEGORIES[index] for index in other] == ["crane bird", "maillot tank suit"]


@given(st.integers(1, 2000), st.data())
def test_indices(classes, data):
    index = data.draw(st.integers(0, classes - 1))
    assert label_index(index, classes) == label_index(f" {index} ", classes) == index
    outside = data.draw(st.integers(max_value=-1) | st.integers(min_value=classes))
    if abs(outside) < 10**18:
        expected = f"no label {outside}; the model's classes are 0 to {classes - 1}"
        assert refused(outside, classes) == refused(str(outside), classes) == expected


def test_every_class_is_found_by_its_first_name():
    for index, (first, *_) in enumerate(class_names()):
        if first.lower() in SHARED:
            assert f"{index} ({first}" in refused(first)
        else:
            assert label_index(first, 1000) == index


def test_other_names():
    assert label_index("Tinca tinca", 1000) == 0
    assert label_index("tabby cat", 1000) == 281
    # the first name of 86 and another one of 82; of 358, and of 361
    assert (label_index("partridge", 1000), label_index("polecat", 1000)) == (86, 358)
    for spelling in ("golden_retriever", "GOLDEN-Retriever", " golden  retriever ", "Golden Retriever"):
        assert label_index(spelling, 1000) == 207
    assert label_index("German_short haired-pointer", 1000) == 210
    assert class_names()[210][0] == "German short-haired pointer"


def test_names_of_several_classes():
    assert refused("crane") == "label 'crane' could be 134 (crane) or 517 (crane); give the index"
    assert refused("Maillot") == "label 'Maillot' could be 638 (maillot) or 639 (maillot, tank suit); give the index"
    for name, (one, other) in SHARED.items():
        line = refused(name).lower()
        assert re.match(rf"label '{name}' could be {one} \({name}.*\) or {other} \({name}", line)
    # the first name of neither
    assert re.match(r"label 'panda' could be 387 \(lesser panda, .*\) or 388 \(giant panda, ", refused("panda"))


def test_unknown_names():
    assert re.fullmatch(
        r"label 'goldne retriver' is not one of ImageNet's classes; did you mean 'golden retriever' or .*\?",
        refused("goldne retriver"),
    )
    assert '"jack-o\'-lantern"' in refused("jack o lantern")
    path = package_data.folder("weights") / "imagenet-classes.txt"
    for label in ("", "qqqqzzzz", "١٢", "²"):
        assert refused(label) == f"label '{label}' is not one of ImageNet's classes; {path} lists them"
    assert refused("two\nlines\r").startswith("label 'two lines' is not one")
    assert "'2.0'" in refused(2.0)


def test_names_without_imagenet():
    for classes in (1, 10, 999, 1001):
        assert refused("tench", classes) == (
            f"label 'tench' is not an index from 0 to {classes - 1}, which this model needs; "
            "names are known for ImageNet's classes only"
        )


def test_a_model_without_labels():
    for label in (0, "0", "tench"):
        assert refused(label, 0) == "the model takes no labels; omit the label"


def test_a_missing_file_of_names(monkeypatch, tmp_path):
    monkeypatch.setattr(package_data, "folder", lambda name: tmp_path / name)
    for cached in (labels.class_names, labels._indices):
        cached.cache_clear()
    line = refused("tench")
    assert line.startswith(f"{tmp_path / 'weights' / 'imagenet-classes.txt'}: cannot be read")
    monkeypatch.undo()
    assert label_index("tench", 1000) == 0
