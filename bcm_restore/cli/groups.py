"""Names and help texts of commands."""

from collections.abc import Callable

import typer

from . import usage


def add(app: typer.Typer, command: Callable[..., None], name: str | None = None) -> None:
    """Adds a command whose help is its docstring: a line of summary, paragraphs, and an example at the end.

    Args:
        app: the application to add it to.
        command: its function.
        name: of the command; None: the function's name.
    """
    *text, example = (" ".join(paragraph.split()) for paragraph in (command.__doc__ or "").split("\n\n"))
    own = command.__name__.strip("_").replace("_", "-")  # import_ is import
    app.command(name or own, cls=usage.Command, help="\n\n".join(text), epilog=example)(command)
