"""Help and usage errors: the most used options first, and messages in this package's words."""

import re
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from .. import errors

PANELS = ("Options", "Data", "Contestants", "Search", "Output", "Model", "Input", "Cluster")  # in the order of the help

ELSEWHERE = {  # names in other programs
    "--gpu": "--device cuda runs on a GPU",
    "--cuda": "--device cuda runs on a GPU",
    "--cpu": "--device cpu runs on the CPU",
    "--jobs": "--threads N limits the threads",
    "--steps": "--nfe N gives the number of network evaluations",
    "--force": "--overwrite replaces outputs that exist",
    "--out": "-o PATH names the output",
}

WORDINGS = (  # messages of typer, and of pydantic, with which it checks values
    (r"^No such command ('.*')\.$", r"no such command \1; --help lists them"),
    (r"^Missing (option|argument) ('.*')\.$", r"the \1 \2 is missing; --help says what it takes"),
    (r"Value error, ", ""),
    (r"Input should be greater than or equal to (\S+)", r"give \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"give \1 or less"),
    (r"Input should be a valid integer\b.*", "give a whole number"),
    (r"Input should be a valid number\b.*", "give a number"),
    (r"Input should be a finite number", "give a number"),
)


class _Ordered:
    """Parameters in the order of `PANELS`, and flags and arguments without the name of a type."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters of the command, with `--help`."""
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
            elif param.param_type_name == "argument":  # newer versions of typer show the type beside the name
                param.display_type_rich = lambda ctx: ""
        return sorted(params, key=lambda param: PANELS.index(getattr(param, "rich_help_panel", None) or PANELS[0]))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments and refuses empty ones: an empty path would be the current folder.

        Raises:
            typer.BadParameter: names the argument or the option.
        """
        typed, _, _ = self.make_parser(ctx).parse_args(list(args))  # type: ignore[attr-defined]
        for param in self.get_params(ctx):
            value = typed.get(param.name)
            if value == "" or (isinstance(value, list | tuple) and "" in value):
                raise typer.BadParameter(
                    "it is empty; give a value (is a variable of the shell not set?)", ctx=ctx, param=param
                )
        return super().parse_args(ctx, args)  # type: ignore[misc]


class Command(_Ordered, TyperCommand):
    """A command."""


class Group(_Ordered, TyperGroup):
    """A command of commands."""


def describe(error: Exception) -> str:
    """The error in one line."""
    option = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and option in ELSEWHERE:  # of click or of typer's own copy of it
        return f"{option} is not known here; {ELSEWHERE[option]}"
    wording = getattr(error, "format_message", None)  # usage errors of typer have a message of their own
    if wording is None:
        return errors.describe(error)
    text = wording()
    for theirs, ours in WORDINGS:
        text = re.sub(theirs, ours, text)
    return text
