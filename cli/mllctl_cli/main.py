"""All commands together, and the one place where an error becomes an exit code."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

import mllctl
from mllctl_cli import captions, doctor, evaluation, explain, graph, hub, images, index, model, predict, select, sql

EPILOG = """
Exit codes:

\b
  0  done
  1  failed
  2  wrong usage: unknown command or option, or classes that make no task
  3  done, but some inputs were skipped
  130  interrupted
"""
INTERRUPTED = 130

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
    """Choose pretrained vision-language models for your classes.

    The answer rests on evidence that was gathered before: it needs no images, no labels and no weights of any model.
    Data goes to stdout, messages to stderr.

    Example: mllctl select --class cat --class dog --domain photograph
    """


for noun in (hub, graph, images, index, model, captions, select, explain, predict, evaluation, sql, doctor):
    noun.register(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command. Every error of ours and every wrong usage is one line and an exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        # Names of files need not be text, nor terminals show all of it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(args=None if argv is None else list(argv), prog_name="mllctl", standalone_mode=False)
    except mllctl.MllctlError as error:
        _fail(str(error), error.exit_code)
    except TyperException as error:
        _usage(error)
    except (typer.Abort, KeyboardInterrupt):
        _interrupted()
    except OSError as error:
        # A full disk, a folder that may not be written: nothing of ours, and nothing to trace back.
        reason = (error.strerror or " ".join(str(error).split())).lower()
        _fail(f"{error.filename}: {reason}" if error.filename else reason, 1)
    if code == INTERRUPTED:
        _interrupted()
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: TyperException) -> NoReturn:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        sys.exit(2)
    command = context.command_path if context else "mllctl"
    message = error.format_message().rstrip(".")
    _fail(f"{message[0].lower()}{message[1:]}; see `{command} --help`", 2)


def _interrupted() -> NoReturn:
    _fail("interrupted; the hub is whole, and the same command goes on from here", INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"mllctl: {' '.join(message.split())}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
