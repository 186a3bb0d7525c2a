"""The command ``qhal``: parse, run one command, turn errors into words and exit codes."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Protocol

from qhal.cli import (
    bench,
    check,
    console,
    deploy,
    doctor,
    explain,
    plugins,
    setup,
    targets,
)
from qhal.cli.options import Parser, advice
from qhal.errors import (
    ExitCode,
    InternalError,
    MissingDependencyError,
    OptionError,
    PluginError,
    QhalError,
    in_one_line,
)
from qhal.system.signals import EXIT_CODES, INTERRUPTED, Interrupted, leaving, say
from qhal.version import __version__

if TYPE_CHECKING:
    from qhal.plugin.registry import Registry


class Command(Protocol):
    """What the module of a command has."""

    SUMMARY: str

    def add_arguments(self, parser: Parser) -> None:
        """Declare the command's arguments."""
        ...

    def run(self, arguments: Namespace, registry: Registry | None = None, /) -> int:
        """Do the work and return the exit code."""
        ...


COMMANDS: dict[str, Command] = {
    "deploy": deploy,
    "check": check,
    "bench": bench,
    "targets": targets,
    "plugins": plugins,
    "doctor": doctor,
    "explain": explain,
    "setup": setup,
}


def parser() -> Parser:
    """Build the parser of the whole command line."""
    top = Parser(
        prog="qhal",
        description="One float ONNX model in; a quantized artifact that fits your hardware out.",
        epilog=f"Exit codes: {'; '.join(f'{code} {code.meaning}' for code in ExitCode)}.",
    )
    top.add_argument("--version", action="version", version=f"qhal {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        sub = commands.add_parser(name, help=module.SUMMARY, description=_sentence(module.SUMMARY))
        module.add_arguments(sub)
        sub.set_defaults(parser=sub)
    return top


def main(argv: Sequence[str] | None = None, registry: Registry | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: arguments without the program's name; those of the process if None.
        registry: backends and targets; None for those that are installed here.
    """
    _prepare_process()
    if argv is None:
        console.keep_stdout_for_results()
    try:
        with leaving(say):
            code = _run(sys.argv[1:] if argv is None else argv, registry)
            sys.stdout.flush()
        return code
    except Interrupted as error:  # of the child that does the work
        console.complain(INTERRUPTED)
        return EXIT_CODES[error.number]
    except KeyboardInterrupt:  # raised by somebody else's handler
        console.complain(INTERRUPTED)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        console.drop_results()  # whoever read them has gone
        return ExitCode.NOBODY_READS
    except QhalError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        return _fail(error if _ours(error) else _missing(error))
    except OSError as error:
        return _fail(_unwritten(error))
    except Exception as error:  # noqa: BLE001 - the last resort says that it is a bug
        return _fail(_want(error))
    except SystemExit:  # of --help and --version
        raise
    except BaseException as error:  # noqa: BLE001 - somebody's who should have used Exception
        return _fail(error)


def _run(argv: Sequence[str], registry: Registry | None) -> int:
    arguments = _parse(argv)
    command = COMMANDS[arguments.command]
    del arguments.command, arguments.parser
    try:
        return command.run(arguments, registry)
    except SystemExit as error:  # whoever asked for it, the command is not done
        raise InternalError(
            f"Something tried to end the process (SystemExit: {error.code})."
        ) from error


def _parse(argv: Sequence[str]) -> Namespace:
    try:
        arguments, unknown = parser().parse_known_args(argv)
    except SystemExit:  # of --help and --version, which are results too
        sys.stdout.flush()
        raise
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
    """Make characters that the terminal lacks become '?'."""
    sys.stdout = sys.stdout or StringIO()  # None if the process was started with it closed
    sys.stderr = sys.stderr or StringIO()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _ours(error: ModuleNotFoundError) -> bool:
    return (error.name or "").partition(".")[0] in {"", "qhal", "qhal_backends"}


def _missing(error: ModuleNotFoundError) -> QhalError:
    package = (error.name or "").partition(".")[0]
    missing = MissingDependencyError(
        f"The package {package!r} is not installed.", f"Run: pip install {package}"
    )
    missing.__cause__ = error
    return missing


def _want(error: Exception) -> Exception:
    """Say what the machine lacks; return any other error as it is."""
    from qhal.system.shortage import shortage

    return shortage(error) or error


def _unwritten(error: OSError) -> Exception:
    """Say that there is no room, or no stdout, or what else lacks; return others as they are."""
    from qhal.output import in_words, is_full_disk

    lost = console.has_lost_results()
    if lost and error.filename is None:
        found = in_words(error, "to stdout")
    elif is_full_disk(error):
        found = in_words(error, error.filename or "to the disk")
    else:
        return _want(error)
    found.__cause__ = error
    return found


def _fail(error: BaseException) -> int:
    """Complain and return the exit code."""
    deliberate = isinstance(error, QhalError) and not isinstance(error, InternalError)
    where = ""
    if os.environ.get("QHAL_TRACEBACK"):
        import traceback

        console.to_stderr("".join(traceback.format_exception(error)))
    elif not deliberate or _is_of_a_plugin(error):
        where = f"{_save(error)} QHAL_TRACEBACK=1 prints the traceback."
    if isinstance(error, QhalError) and deliberate:
        console.error(error, where)
        return error.exit_code
    console.complain(
        f"error {InternalError.code}: {in_one_line(error)}",
        f"This is a bug in qhal {__version__}. {where}",
    )
    return InternalError.exit_code


def _is_of_a_plugin(error: BaseException) -> bool:
    """Return True if an exception of a plugin is its reason, directly or one step further."""
    chain = (error, error.__cause__)
    return any(isinstance(e, PluginError) and e.__cause__ is not None for e in chain)


def _save(error: BaseException) -> str:
    """Keep the traceback where the user can find it and send it; say where."""
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="qhal-bug-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(f"qhal {__version__}, python {sys.version}\n{' '.join(sys.argv)}\n\n")
            traceback.print_exception(error, file=file)
    except OSError as problem:
        return f"The traceback could not be saved ({problem})."
    return f"The traceback is in {file.name}."
