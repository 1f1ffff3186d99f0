"""Names and help texts of commands."""

from collections.abc import Callable

import typer

from . import printing, usage


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


def group(name: str, summary: str, example: str, cls: type[usage.Group] = usage.Group) -> typer.Typer:
    """A command of commands, which shows its help if none of them is given.

    Args:
        name: of the command.
        summary: its help.
        example: a command line.
        cls: looks its commands up.
    """
    app = typer.Typer(
        name=name,
        cls=cls,
        help=summary,
        epilog=f"Example: {example}",
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            printing.result(context.get_help())

    return app
