"""The command `cocu`: its groups of commands, and how an error becomes a message and an exit code.

Nothing heavy is imported here or at the top of a command group's file: a command imports what it
needs when it runs, so that `cocu --help` answers at once.
"""

import os
import select
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer, main_thread
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from cli.command import Command, Group
from cli.curate import app as curate_app
from cli.data import app as data_app
from cli.described import INTERRUPTED, describe
from cli.doctor import doctor
from cli.evaluate import app as eval_app
from cli.explore import explore
from cli.index import app as index_app
from cli.train import app as train_app

ORDER = ("index", "curate", "explore", "train", "eval", "data", "doctor")
PIPE_CLOSED = 141  # 128 + SIGPIPE
DEBUG_VARIABLE = "COCU_DEBUG"


class _Escaped(Exception):
    """Carries, past Typer, an error that Typer would turn into words of its own."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class _Commands(Group):
    """The top group; lets Ctrl-C, end-of-file and system errors of a command reach `main`.

    Typer ends silently on the first, says only "Aborted!" on the second (a cut-off compressed
    file raises it too), and takes any broken pipe for the closing of its standard output.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the work."""
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def make_context(self, *given: Any, **named: Any) -> Any:
        """Read the words before a command's."""
        with _refusals():
            return super().make_context(*given, **named)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            with _refusals():
                return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError, OSError) as error:
            raise _Escaped(error) from error


@contextmanager
def _refusals() -> Iterator[None]:
    """What Typer refuses is told as every other misuse, in a line."""
    try:
        yield
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # help, which is printed already
            raise
        from cli.usage import refusal
        from files.errors import MisuseError

        raise MisuseError(refusal(error)) from error


app = typer.Typer(
    name="cocu",
    cls=_Commands,
    help="Concept curation: find what pictures show and their captions leave out.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.add_typer(index_app, name="index")
app.add_typer(curate_app, name="curate")
app.command(cls=Command)(explore)
app.add_typer(train_app, name="train")
app.add_typer(eval_app, name="eval")
app.add_typer(data_app, name="data")
app.command(cls=Command)(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cocu {version('cocu')}")
        raise typer.Exit()


@app.callback()
def _global_options(
    debug: Annotated[
        bool,
        typer.Option("--debug", help=f"Show tracebacks of errors, as {DEBUG_VARIABLE}=1 does."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    if debug:
        # The environment, so that worker processes know it too.
        os.environ[DEBUG_VARIABLE] = "1"


def _report(error: BaseException) -> int:
    """Print `error` for a person; return the exit code."""
    if isinstance(error, BrokenPipeError) and _stdout_is_closed():
        return PIPE_CLOSED
    from files.printable import printable_lines

    message, exit_code = describe(error)
    if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
        traceback.print_exception(error)
    print(printable_lines(message), file=sys.stderr)
    return exit_code


def _stdout_is_closed() -> bool:
    """Whether the reader of our output has gone, as in `cocu ... | head`.

    A worker process that died breaks a pipe too, and that must not pass in silence. So the pipe is
    asked, not only the buffer: where Python does not buffer, a failed write leaves nothing there.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in asked.poll(0))


def _refuse_undecodable(arguments: Sequence[str]) -> None:
    """Raises MisuseError: what is no text can be printed nowhere, nor be noted in a manifest or results."""
    from files.errors import MisuseError
    from files.rejects import is_utf8

    for argument in arguments:
        if not is_utf8(argument):
            shown = ascii(argument).replace("\\udc", "\\x")  # as $'caf\xe9' in a shell
            raise MisuseError(
                f"argument {shown}: is not UTF-8; give UTF-8, and rename a file or folder that is called so"
            )


def _close_stdout() -> int:
    """Write out what is still buffered; return 0, or the exit code when that fails."""
    try:
        sys.stdout.flush()
        return 0
    except OSError as error:
        exit_code = _report(error)
    # Python tries once more on its way out, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exit_code


def _come_again(lost: Any) -> None:
    """Ctrl-C that arrives within a finaliser is printed by Python and dropped: it comes again when that has ended."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        # To the main thread, so that what it waits for in the system ends, too.
        again = Timer(0.02, signal.pthread_kill, (main_thread().ident, signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `cocu` with `arguments` (those of the process if None) and end the process.

    Exit codes: 0 done, 1 could not be done, 2 wrong arguments, 130 interrupted, 141 nobody reads
    our output any more.
    """
    from files.machine import fit_threads

    exit_code: str | int | None = 0
    sys.unraisablehook = _come_again
    fit_threads()
    try:
        _refuse_undecodable(sys.argv[1:] if arguments is None else arguments)
        app(args=arguments, prog_name="cocu")
    except SystemExit as end:
        exit_code = end.code
        if exit_code == INTERRUPTED:  # by Typer, without a word, before or after the command itself
            _report(KeyboardInterrupt())
    except _Escaped as escaped:
        exit_code = _report(escaped.error)
    except (Exception, KeyboardInterrupt) as error:
        exit_code = _report(error)
    closing = _close_stdout()
    sys.exit(exit_code or closing)


if __name__ == "__main__":
    import cocu

    cocu.main()
