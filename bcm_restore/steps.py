"""Chains of restorations: "jpeg, super-resolve x2 noise=5" names the tasks in order, each with its own options."""

import math
import re
import shlex
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import RestoreError, instead

Steps = str | Sequence[str | tuple[str, Mapping[str, Any]]]
Kinds = Mapping[str, Any]  # the type of each option

_TRUTH = {"yes": True, "true": True, "no": False, "false": False}
LARGEST = 16  # scale of all steps together
CLEANING = ("jpeg", "jpeg-restore", "denoise")  # what super-resolve would do itself is left to these before it
_EXAMPLE = 'such as "jpeg, super-resolve x2"'


@dataclass(frozen=True)
class Step:
    """A task and its options.

    Attributes:
        name: of the task or its command.
        options: by name; those of a text are text, or True if no value follows.
        nfe: network evaluations of this step; None: those of the chain.
    """

    name: str
    options: Mapping[str, Any]
    nfe: int | None = None


def parse(steps: Steps) -> list[Step]:
    """The steps of a chain.

    Args:
        steps: text: steps with commas between, each a name followed by options: `name=value`, `name` for "yes", and
            `xN` for `scale=N`. Values with spaces or commas are quoted. Or a sequence of names and of pairs (name,
            options).

    Raises:
        RestoreError: the text is malformed, an option is given twice, or there is no step.
    """
    if isinstance(steps, str):
        found = [_step(words) for words in _split(steps)]
    elif isinstance(steps, list | tuple):
        found = [_from_pair(step) for step in steps]
    else:
        raise RestoreError(f"steps={steps!r} is a {type(steps).__name__}; give a text {_EXAMPLE}")
    if not found:
        raise RestoreError(f"there are no steps; give at least one task, {_EXAMPLE}")
    return found


def resolve(steps: Sequence[Step], kinds_of: Callable[[str], Kinds | None]) -> list[dict[str, Any]]:
    """The arguments of each step: options under the names and with the types that the task gives them.

    Args:
        steps: of the chain.
        kinds_of: the options that a task takes; None: any.

    Raises:
        RestoreError: a step has no such option, a value is of another type, there are several masks, the size of the
            picture has changed before its mask is used, or it becomes too large.
    """
    taken = [kinds_of(step.name) for step in steps]
    kinds = [known or {} for known in taken]
    masked = [n for n, known in enumerate(kinds) if "mask" in known]
    if len(masked) > 1:
        raise RestoreError(f"{steps[masked[1]].name} is given twice; draw both masks into one")
    for n, known in enumerate(kinds):
        if "scale" in known and masked and n < masked[0]:
            last, first = steps[n].name, steps[masked[0]].name
            raise RestoreError(
                f"{first} comes after {last}, but its mask has the size of the picture; put {first} first"
            )
    found = [_arguments(step, known) for step, known in zip(steps, taken, strict=True)]
    enlarged = math.prod(own.get("scale", 4) for own, known in zip(found, kinds, strict=True) if "scale" in known)
    if enlarged > LARGEST:
        raise RestoreError(f"the steps enlarge a picture {enlarged} times; at most {LARGEST} times is possible")
    for n, (own, known) in enumerate(zip(found, kinds, strict=True)):
        if {"scale", "noise"} <= {*known} and any(step.name in CLEANING for step in steps[:n]):
            own.setdefault("noise", 0)
    return found


def _split(text: str) -> list[list[str]]:
    """The words of each step; line breaks are spaces."""
    text = " ".join(text.splitlines())
    lexer = shlex.shlex(text, posix=True, punctuation_chars=",")
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""  # paths may contain backslashes
    try:
        words = list(lexer)
    except ValueError:
        raise RestoreError(f"steps {text}: a quotation mark is not closed; close it") from None
    steps: list[list[str]] = [[]]
    for word in words:
        if word.strip(","):
            steps[-1].append(word)
        else:  # empty if it is a pair of quotation marks
            steps += [[] for _ in word]
    if words and not all(steps):
        raise RestoreError(f"steps {text}: there is no task before or after a comma; leave the comma out")
    return steps if words else []


def _step(words: Sequence[str]) -> Step:
    name, *rest = words
    options: dict[str, Any] = {}
    for word in rest:
        key, value = _option(name, word)
        if key in options:
            raise RestoreError(f"step '{name}': {key} is given twice; leave one")
        options[key] = value
    return _with_nfe(name, options)


def _option(name: str, word: str) -> tuple[str, Any]:
    """The name and the value of an option."""
    if scale := re.fullmatch(r"x(\d+)", word, re.ASCII):
        return "scale", scale[1]
    key, equals, value = word.partition("=")
    key = key.lstrip("-").replace("-", "_")
    if not key.isidentifier() or (equals and not value):
        raise RestoreError(
            f"step '{name}': '{word}' is not an option; give name=value, and a comma before the next task"
        )
    return key, value if equals else True


def _from_pair(step: Any) -> Step:
    """A step that was given as a name, or as a pair of a name and options."""
    name, options = (step, {}) if isinstance(step, str) else step if _is_pair(step) else (None, {})
    if name is None:
        raise RestoreError(f'step {step!r}: give a name or a pair such as ("super-resolve", {{"scale": 2}})')
    return _with_nfe(name, dict(options))


def _is_pair(step: Any) -> bool:
    return (
        isinstance(step, list | tuple) and len(step) == 2 and isinstance(step[0], str) and isinstance(step[1], Mapping)
    )


def _with_nfe(name: str, options: dict[str, Any]) -> Step:
    nfe = _converted(name, "nfe", options.pop("nfe"), int) if "nfe" in options else None
    return Step(name, options, nfe)


def _arguments(step: Step, known: Kinds | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    kinds = known or {}
    for name, value in step.options.items():
        if known is not None and name not in known:
            comma = "; put a comma before it if it is a task" if value is True else ""
            raise RestoreError(f"step '{step.name}': {_unknown(name, known)}{comma}")
        arguments[name] = _converted(step.name, name, value, kinds.get(name, Any))
    return arguments


def _unknown(name: str, known: Kinds) -> str:
    return f"there is no option '{name}'; {instead(name, sorted([*known, 'nfe']), 'it takes')}"


def _converted(step: str, name: str, value: Any, kind: Any) -> Any:
    """The value of a text, as the type of the option; other values are the caller's own."""
    kinds = typing.get_args(kind) or (kind,)
    if bool in kinds:
        if isinstance(value, str) and value.lower() not in _TRUTH:
            raise RestoreError(f"step '{step}': {name}={value} is not known; give {name}=yes or {name}=no")
        return _TRUTH[value.lower()] if isinstance(value, str) else value
    if value is True:
        raise RestoreError(f"step '{step}': {name} needs a value; give {name}=value")
    if not isinstance(value, str) or str in kinds:
        return value
    for number, what in ((int, "whole number"), (float, "number")):
        if number in kinds:
            try:
                return number(value)
            except ValueError:
                raise RestoreError(f"step '{step}': {name}={value} is not a {what}; give {name}=N") from None
    return Path(value) if Path in kinds else value
