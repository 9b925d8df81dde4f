"""The `auricle` command: parses, calls, prints. What it prints on stdout is data; what it has to say goes to stderr."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from auricle.errors import AuricleError

INTERRUPTED = 130
PIPE_CLOSED = 141
DEFECT = 70
KEPT = "interrupted; what was finished is kept"

app = typer.Typer(
    name="auricle",
    help="Speech recognition, served and measured.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _version(wanted: bool) -> None:
    if wanted:
        from auricle import __version__

        print(f"auricle {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Speech recognition, served and measured."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed (in part), 2 asked for wrongly, 70 a defect, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; an error is one line on stderr, with `--debug` its traceback too."""
    from auricle.cli import commands  # noqa: F401  registers the commands

    try:
        status = app(arguments, standalone_mode=False)
    except AuricleError as error:
        return fail(str(error), error.exit_status, debug="--debug" in arguments)
    except typer.TyperException as error:
        if error.format_message().startswith("Usage:"):  # a command without arguments answers with its help
            print(error.format_message())
            return error.exit_code
        return fail(f"{error.format_message()} (hint: see --help)", error.exit_code, debug="--debug" in arguments)
    except typer.Abort:
        return fail(KEPT, INTERRUPTED, debug=False)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001  a defect of ours is told in one line too, and as what it is
        return fail(f"defect in auricle: {error!r} (hint: --debug shows where)", DEFECT, debug="--debug" in arguments)
    if status == INTERRUPTED:  # typer turns KeyboardInterrupt into this status
        return fail(KEPT, INTERRUPTED, debug=False)
    return status if isinstance(status, int) else 0


def fail(message: str, status: int, *, debug: bool) -> int:
    """Print one line of error on stderr, after the traceback when debugging, and return the status."""
    if debug:
        import traceback

        traceback.print_exc()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status
