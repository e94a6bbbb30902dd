"""The command line: a thin layer over the Python API."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from aczerots.cli.annotate_command import annotate
from aczerots.cli.exchange_commands import export, import_, ingest
from aczerots.cli.model_commands import evaluate, predict, report
from aczerots.cli.options import with_groups
from aczerots.cli.project_commands import fit, init, run, select, status
from aczerots.cli.run_commands import demo, experiment, simulate
from aczerots.cli.tool_commands import describe, doctor, embed
from aczerots.errors import AczerotsError, InputError
from aczerots.version import __version__

app = typer.Typer(
    name="aczerots",
    help="Draw a few tiles of the tissue classes you can, describe the others, segment them all.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_COMMANDS: tuple[Callable[..., None], ...] = (demo, simulate, experiment, predict, evaluate, report)
_COMMANDS += (embed, describe, doctor, annotate, init, import_, select, export, ingest, fit, status, run)
for _command in _COMMANDS:
    app.command(_command.__name__.removesuffix("_"))(with_groups(_command))

_INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exit code 0 only if all of it worked; deliberate errors are one line."""
    asked: list[int] = []

    def stop(number: int, frame: object) -> None:
        # No KeyboardInterrupt: if one passes through exec, as in many imports, Python ignores the exit code.
        del frame
        asked.append(number)
        raise SystemExit(_INTERRUPTED)

    # Programs that a shell runs in the background ignore Ctrl-C; keep it that way.
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {n: signal.signal(n, stop) for n in kinds if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        code, message = _run(arguments)
    except BaseException:
        if not asked:
            raise
        code, message = _INTERRUPTED, ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked and code:
        # A library that is interrupted at a bad moment may turn the interrupt into an error of its own.
        code, message = _INTERRUPTED, "stopped; what was saved stays, and the same command goes on from there"
    if message:
        sys.stderr.write(f"error: {message}\n")
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> tuple[int, str]:
    """Run a command; gives the exit code and the error message, empty if there is none."""
    try:
        return app(args=list(arguments) if arguments is not None else None, standalone_mode=False) or 0, ""
    except AczerotsError as error:
        return 1, str(error)
    except OSError as error:
        return 1, str(InputError(error.strerror or "input/output error", where=error.filename))
    except TyperException as error:
        return 2, error.format_message()


if __name__ == "__main__":
    main()
