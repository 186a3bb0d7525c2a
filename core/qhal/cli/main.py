"""The command ``qhal``: parse, run one command, turn errors into words and exit codes.

Exit codes: 0 done, 1 a gate was not met, 2 bad input, 3 something that is needed is not
installed, 70 a bug in qhal, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import traceback
from argparse import Namespace
from collections.abc import Sequence
from io import StringIO
from types import FrameType
from typing import NoReturn, Protocol

from qhal import __version__
from qhal.cli import check, console, deploy, doctor, explain, plugins, setup, targets
from qhal.cli.options import Parser, advice
from qhal.errors import InternalError, MissingDependencyError, OptionError, QhalError
from qhal.output import in_words, is_full_disk


class Command(Protocol):
    """What the module of a command has."""

    SUMMARY: str

    def add_arguments(self, parser: Parser) -> None:
        """Declare the command's arguments."""
        ...

    def run(self, arguments: Namespace) -> int:
        """Do the work and return the exit code."""
        ...


COMMANDS: dict[str, Command] = {
    "deploy": deploy,
    "check": check,
    "targets": targets,
    "plugins": plugins,
    "doctor": doctor,
    "explain": explain,
    "setup": setup,
}
INTERRUPTED = 130
TERMINATED = 143
BROKEN_PIPE = 141
_AGAIN_S = 0.01

_EXTRAS = {"ai_edge_litert": "tflite", "flatbuffers": "tflite", "openvino": "openvino"}


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="qhal",
        description="One float ONNX model in; a quantized artifact that fits your hardware out.",
        epilog="Exit codes: 0 done, 1 a gate was not met, 2 bad input, 3 something that is "
        "needed is not installed, 70 a bug in qhal, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=f"qhal {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        sub = commands.add_parser(name, help=module.SUMMARY, description=_sentence(module.SUMMARY))
        module.add_arguments(sub)
        sub.set_defaults(parser=sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: arguments without the program's name; those of the process if None.
    """
    _prepare_process()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _interrupted(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain again while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except QhalError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        return _fail(error if _ours(error) else _missing(error))
    except OSError as error:
        return _fail(_full_disk(error) if is_full_disk(error) else error)
    except Exception as error:  # noqa: BLE001 - the last resort says that it is a bug
        return _fail(error)


def _run(argv: Sequence[str]) -> int:
    arguments = _parse(argv)
    command = COMMANDS[arguments.command]
    del arguments.command, arguments.parser
    return command.run(arguments)


def _parse(argv: Sequence[str]) -> Namespace:
    arguments, unknown = parser().parse_known_args(argv)
    if unknown:
        sub: Parser = arguments.parser
        word = unknown[0].partition("=")[0]
        raise OptionError(
            f"Unknown argument {unknown[0]!r}.", advice(word, sub.options(), sub.prog)
        )
    return arguments


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _prepare_process() -> None:
    """Characters that the terminal lacks become '?'; SIGTERM cleans up as Ctrl-C does."""
    sys.stdout = sys.stdout or StringIO()  # None if the process was started with it closed
    sys.stderr = sys.stderr or StringIO()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _insist


def _insist(lost: sys.UnraisableHookArgs) -> None:
    """Repeat a signal that arrived where Python cannot raise, such as in a weakref's callback.

    Python would print its exception and go on as if nobody had pressed Ctrl-C.
    """
    if isinstance(lost.exc_value, KeyboardInterrupt):
        number = signal.SIGINT
    elif isinstance(lost.exc_value, SystemExit):
        number = signal.SIGTERM
    else:
        sys.__unraisablehook__(lost)
        return
    main_thread = threading.main_thread().ident or 0
    again = threading.Timer(_AGAIN_S, signal.pthread_kill, (main_thread, number))
    again.daemon = True
    again.start()


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)


def _ours(error: ModuleNotFoundError) -> bool:
    return (error.name or "").partition(".")[0] in {"", "qhal", "qhal_backends"}


def _missing(error: ModuleNotFoundError) -> QhalError:
    package = (error.name or "").partition(".")[0]
    wanted = f'"quant-hal[{_EXTRAS[package]}]"' if package in _EXTRAS else package
    missing = MissingDependencyError(
        f"The package {package!r} is not installed.", f"Run: pip install {wanted}"
    )
    missing.__cause__ = error
    return missing


def _full_disk(error: OSError) -> QhalError:
    full = in_words(error, error.filename or "to the disk")
    full.__cause__ = error
    return full


def _interrupted(code: int) -> int:
    console.complain("interrupted: nothing is left half-written")
    return code


def _signal_behind(error: BaseException | None) -> int | None:
    """The exit code if a signal is behind an error: C modules wrap it while they are imported."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        if isinstance(error, SystemExit) and error.code == TERMINATED:
            return TERMINATED
        error = error.__cause__ or error.__context__
    return None


def _fail(error: Exception) -> int:
    """Complain and return the exit code."""
    if (code := _signal_behind(error)) is not None:
        return _interrupted(code)
    wanted = bool(os.environ.get("QHAL_TRACEBACK"))
    if wanted:
        traceback.print_exception(error)
    if isinstance(error, QhalError) and not isinstance(error, InternalError):
        console.error(error)
        return error.exit_code
    where = "" if wanted else f"{_save(error)} QHAL_TRACEBACK=1 prints the traceback."
    console.complain(
        f"error {InternalError.code}: {type(error).__name__}: {error}",
        f"This is a bug in qhal {__version__}. {where}",
    )
    return InternalError.exit_code


def _save(error: Exception) -> str:
    """Keep the traceback where the user can find it and send it; say where."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="qhal-bug-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"qhal {__version__}, python {sys.version}\n{' '.join(sys.argv)}\n\n")
            traceback.print_exception(error, file=file)
    except OSError as problem:
        return f"The traceback could not be saved ({problem})."
    return f"The traceback is in {file.name}."
