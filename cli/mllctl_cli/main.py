"""All commands together, and the one place where an error becomes an exit code."""

import difflib
import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

import mllctl
from mllctl.errors import MllctlError

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

# Command -> the file it is in, which is imported when the command is asked for: a `select` needs little of the rest.
HOME = {
    "init": "hub",
    "images": "images",
    "graph": "graph",
    "index": "index",
    "model": "model",
    "label": "label",
    "select": "select",
    "explain": "explain",
    "rank": "rank",
    "predict": "predict",
    "export": "export",
    "captions": "captions",
    "sql": "sql",
    "evaluate": "evaluation",
    "bench": "bench",
    "doctor": "doctor",
    "hub": "hub",
    "demo": "hub",
}


class Commands(TyperGroup):
    """All commands, in the order in which people come to need them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return list(HOME)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return a command, None if there is none of this name."""
        if cmd_name not in HOME:
            return None
        file = typer.Typer(rich_markup_mode=None)
        import_module(f"mllctl_cli.{HOME[cmd_name]}").register(file)
        return typer.main.get_group(file).commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of a command line; suggest close ones, which Typer knows only of commands it has."""
        try:
            return super().resolve_command(ctx, args)
        except TyperException as error:
            if close := difflib.get_close_matches(args[0], HOME):
                error.message = f"{error.message.rstrip('.')}; did you mean {' or '.join(close)}?"
            raise


app = typer.Typer(
    cls=Commands,
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


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command. Every error of ours and every wrong usage is one line and an exit code."""
    if argv is None:
        # Nearly all that a command makes lives as long as it does: looking for garbage is a tenth of a query's time.
        gc.set_threshold(100_000)
    if isinstance(sys.stdout, TextIOWrapper):
        # Names of files need not be text, nor terminals show all of it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(args=None if argv is None else list(argv), prog_name="mllctl", standalone_mode=False)
    except MllctlError as error:
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
