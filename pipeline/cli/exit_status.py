"""How a command ends: its exit status, and one line on standard error where it did not end well."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

from pipeline.runtime.errors import ConfigurationError, NothingToDo, RecurError

INTERRUPTED = 130
READING = {"query", "compare", "explain", "check"}
_interrupts: list[int] = []


def _note_interrupt(number: int, frame: FrameType | None) -> None:
    """Some libraries turn the exception into one of their own."""
    _interrupts.append(number)
    raise KeyboardInterrupt


def exit_status(command: Callable[[], object], arguments: Sequence[str] | None) -> int:
    """Runs `command`, of the command line's `arguments`, and gives the exit status: 1 for a failed job, 2 for unusable
    arguments or configuration, 130 after Ctrl-C. What went wrong is one line on standard error.
    """
    _interrupts.clear()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _note_interrupt)
    try:
        status = _run(command)
        return _stopped(arguments) if status == INTERRUPTED else status  # Typer makes a status of the exception
    except (KeyboardInterrupt, typer.Abort):
        return _stopped(arguments)
    except Exception:
        if not _interrupts:
            raise
        return _stopped(arguments)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def ended_after(seconds: float, line: str) -> Iterator[None]:
    """Ends this process with `line` and the exit status of unusable arguments where the block takes longer: SQLite
    cannot be interrupted within a call of one of its functions, which may last for ever.
    """

    def end() -> None:
        _print_error(line)
        os._exit(ConfigurationError.status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _stopped(arguments: Sequence[str] | None) -> int:
    """Says how a command ended on Ctrl-C."""
    named = READING & set(sys.argv[1:] if arguments is None else arguments)
    kept = "nothing was changed" if named else "what was finished is kept, and the next run goes on from there"
    _print_error(f"stopped; {kept}")
    return INTERRUPTED


def _run(command: Callable[[], object]) -> int:
    try:
        status = command()
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except NothingToDo as reason:
        print(reason)
        return 0
    except RecurError as error:
        if _interrupts:
            raise
        _print_error(str(error))
        return error.status
    except typer.TyperException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "recur")
        message = error.format_message().rstrip(".").replace("Value error, ", "")
        _print_error(f"{message}: see `{path} --help`")
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _print_error(
            f"{error.strerror or error}: {error.filename or 'no file named'}: check that it exists and is yours"
        )
        return 1


def _print_error(line: str) -> None:
    print("recur: " + " ".join(line.split()), file=sys.stderr)
