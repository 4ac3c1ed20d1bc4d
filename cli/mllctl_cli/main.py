"""All commands together, and the one place where an error becomes an exit code."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

import mllctl
from mllctl_cli import doctor, graph, hub, images, index, model, sql, task

EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some inputs were skipped."

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=EPILOG,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mllctl {mllctl.__version__}")
        raise typer.Exit


@app.callback()
def mllctl_(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Choose pretrained vision-language models for your classes, from evidence gathered once.

    Example: mllctl select --class cat --class dog --domain photograph
    """


for noun in (hub, graph, images, index, model, task, sql, doctor):
    noun.register(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command. Every error of ours and every wrong usage is one line and an exit code."""
    try:
        code = app(args=None if argv is None else list(argv), prog_name="mllctl", standalone_mode=False)
    except mllctl.MllctlError as error:
        _fail(str(error), error.exit_code)
    except TyperException as error:
        _usage(error)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted; the same command takes up where it stopped", 130)
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does.
        sys.stderr.close()
        sys.exit(0)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _usage(error: TyperException) -> None:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        sys.exit(2)
    command = context.command_path if context else "mllctl"
    _fail(f"{error.format_message().rstrip('.')}; see `{command} --help`", 2)


def _fail(message: str, code: int) -> None:
    typer.echo(f"mllctl: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
