"""Labels of class-conditional networks: indices, and the names of ImageNet's classes."""

import difflib
import functools
import re

from . import package_data
from .errors import RestoreError

IMAGENET = 1000  # a network with this many classes is taken for one of ImageNet
INDEX = r"[+-]?[0-9]{1,18}"


def label_index(label: str | int, classes: int) -> int:
    """The index of a class.

    Args:
        label: an index, as a number or in digits, or one of the names of ImageNet's classes. Case is ignored, and
            hyphens and underscores count as spaces.
        classes: the network's number of classes; 0: it takes no labels.

    Returns:
        0 to classes - 1.

    Raises:
        RestoreError: the network has no such class, or several classes have that name.
    """
    text = " ".join(str(label).split())
    if classes == 0:
        raise RestoreError("the model takes no labels; omit the label")
    if re.fullmatch(INDEX, text):
        if not 0 <= int(text) < classes:
            raise RestoreError(f"no label {text}; the model's classes are 0 to {classes - 1}")
        return int(text)
    if classes != IMAGENET:
        raise RestoreError(
            f"label '{text}' is not an index from 0 to {classes - 1}, which this model needs; "
            "names are known for ImageNet's classes only"
        )
    found = _indices().get(_plain(text), ())
    if len(found) == 1:
        return found[0]
    if found:
        choice = " or ".join(f"{index} ({', '.join(class_names()[index])})" for index in found)
        raise RestoreError(f"label '{text}' could be {choice}; give the index")
    raise RestoreError(f"label '{text}' is not one of ImageNet's classes; {_way_out(text)}")


@functools.cache
def class_names() -> list[tuple[str, ...]]:
    """The names of each of ImageNet's classes, by index, the usual name first.

    Raises:
        RestoreError: the file with the names cannot be read.
    """
    path = package_data.folder("weights") / "imagenet-classes.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RestoreError(f"{path}: cannot be read ({error}); install bcm-restore again") from error
    return [tuple(line.split(", ")) for line in lines if not line.startswith("#")]


@functools.cache
def _indices() -> dict[str, tuple[int, ...]]:
    """The classes of each name; if it is the first name of some, only those."""
    firsts: dict[str, tuple[int, ...]] = {}
    others: dict[str, tuple[int, ...]] = {}
    for index, (first, *synonyms) in enumerate(class_names()):
        firsts[_plain(first)] = (*firsts.get(_plain(first), ()), index)
        for synonym in synonyms:
            others[_plain(synonym)] = (*others.get(_plain(synonym), ()), index)
    return {**others, **firsts}


def _way_out(text: str) -> str:
    """Suggests similar names, or the file that lists them all."""
    spelt = {_plain(name): name for names in class_names() for name in names}
    if close := difflib.get_close_matches(_plain(text), spelt, 3):
        return f"did you mean {' or '.join(repr(spelt[name]) for name in close)}?"
    return f"{package_data.folder('weights') / 'imagenet-classes.txt'} lists them"


def _plain(name: str) -> str:
    """The form in which names are compared: lower case, with single spaces for hyphens and underscores."""
    return " ".join(re.sub("[-_]", " ", name).lower().split())
