"""The process around a command: its streams, signals, and what stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qhal.errors import OptionError
from qhal.host import too_many_threads, usable_cores
from tests.core.system.waiting import wait_until
from tests.paths import PATH, ROOT

DIGITS = ROOT / "examples" / "digits"
DEPLOY = ["deploy", str(DIGITS / "digits.onnx"), "--target", "cpu", "--no-cache"]
WITH_DATA = [*DEPLOY, "--data", str(DIGITS / "calibration.npz")]
QHAL = [sys.executable, "-m", "qhal.cli"]


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PATH, "QHAL": " ".join(QHAL), **variables}
    return subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


# --- streams ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "redirection",
    ["2>/dev/full", "2>&-", "2>&- >&- <&-", ">&-", ">/dev/full", "2>/dev/full >/dev/full"],
)
def test_streams_that_are_not_there_change_no_exit_code(tmp_path: Path, redirection: str) -> None:
    script = f"$QHAL deploy nope.onnx --target cpu --data x {redirection}; echo $?"
    assert shell(script, tmp_path).stdout == "2\n"


def test_a_reader_of_stderr_that_leaves(tmp_path: Path) -> None:
    script = "{ $QHAL deploy nope.onnx --target cpu --data x 2>&1 >/dev/null; echo $? >code; } | :"
    shell(script, tmp_path)
    assert (tmp_path / "code").read_text() == "2\n"


def test_a_full_disk_behind_stdout_is_said_once(tmp_path: Path) -> None:
    done = shell("$QHAL targets >/dev/full", tmp_path)
    assert done.returncode == 2
    assert "the disk is full" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_stdout_that_cannot_be_written_is_no_bug_of_qhal(tmp_path: Path) -> None:
    done = shell("$QHAL targets 1</dev/null", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error QH401: Cannot write to stdout: ")
    assert len(done.stderr.splitlines()) <= 2


def test_a_stdout_that_does_not_wait_gets_the_whole_result(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = os.write(writer, bytes(1 << 20))
    process = subprocess.Popen(
        [*QHAL, "targets"], stdout=writer, env={**os.environ, "PYTHONPATH": PATH}
    )
    os.close(writer)
    time.sleep(3)  # for as long as the pipe is full, it has to wait
    with os.fdopen(reader, "rb") as stream:
        content = stream.read()
    assert process.wait() == 0
    assert content[filled:].endswith(b"shows one with its numbers.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        "targets",
        "targets cpu",
        "targets --json",
        "doctor",
        "plugins",
        "setup",
        f"check {DIGITS / 'digits.onnx'} --target cpu",
        f"{' '.join(WITH_DATA)} --out out",
        "--help",
        "deploy --help",
        "--version",
    ],
)
@pytest.mark.parametrize(("into", "then", "code"), [("", "| :", 141), (">/dev/full", "", 2)])
def test_a_result_that_nobody_gets(
    tmp_path: Path, arguments: str, into: str, then: str, code: int
) -> None:
    shell(f"{{ sleep 0.1; $QHAL {arguments} 2>err {into}; echo $? >code; }} {then}", tmp_path)
    assert (tmp_path / "code").read_text() == f"{code}\n"
    said = (tmp_path / "err").read_text()
    assert "Exception ignored" not in said and "bug" not in said
    assert said.count("the disk is full") == (code == 2)


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What a runtime prints on stderr would land in it."""
    text = (
        "import os, numpy as np\n"
        "def make():\n"
        "    os.write(2, b'noise')\n"
        "    os.write(1, b'noise')\n"
        "    return np.zeros((4, 1, 8, 8), 'f4')\n"
    )
    (tmp_path / "noisy.py").write_text(text)
    deploy = f"$QHAL {' '.join(DEPLOY)} --data noisy:make --out out"
    assert shell(f"{deploy} 2>&- >&-; exit $?", tmp_path).returncode == 0
    assert not any(b"noise" in file.read_bytes() for file in (tmp_path / "out").iterdir())


def test_stdout_holds_the_result_alone(tmp_path: Path) -> None:
    text = (
        "import os, sys, numpy as np\n"
        "print('imported')\n"
        "def make():\n"
        "    print('made')\n"
        "    os.write(1, b'from C\\n')\n"
        "    os.system('echo from a child')\n"
        "    return np.random.default_rng(0).normal(size=(6, 1, 8, 8)).astype('f4')\n"
    )
    (tmp_path / "noisy.py").write_text(text)
    done = shell(f"$QHAL {' '.join(DEPLOY)} --data noisy:make --json --out out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"]["name"] == "cpu"
    for noise in ("imported", "made", "from C", "from a child"):
        assert noise in done.stderr


def test_an_exit_in_a_function_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import sys\ndef make():\n    sys.exit(0)\n")
    done = shell(f"$QHAL {' '.join(DEPLOY)} --data leaves:make --out out", tmp_path)
    assert done.returncode == 2
    assert "leaves:make fails: it ends the process (SystemExit: 0)" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_hard_exit_in_a_function_is_no_success(tmp_path: Path) -> None:
    """A child that the function forks may still end as it likes."""
    text = (
        "import os\n"
        "def make():\n"
        "    if not (child := os.fork()):\n"
        "        os._exit(7)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "    os._exit(0)\n"
    )
    (tmp_path / "leaves.py").write_text(text)
    done = shell(f"$QHAL {' '.join(DEPLOY)} --data leaves:make --out out", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "leaves:make fails: it ends the process (SystemExit: 0)" in done.stderr


@pytest.mark.parametrize("raised", ["MemoryError", "np.zeros((1 << 50,))"])
def test_too_little_memory_is_one_sentence(tmp_path: Path, raised: str) -> None:
    raises = f"raise {raised}" if raised == "MemoryError" else raised
    (tmp_path / "large.py").write_text(f"import numpy as np\ndef make():\n    {raises}\n")
    done = shell(f"$QHAL {' '.join(DEPLOY)} --data large:make --out out", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "error QH801: There is not enough memory" in done.stderr
    assert "--calib-samples" in done.stderr
    assert "traceback" not in done.stderr.lower()
    assert not (tmp_path / "out").exists()


NO_ROOM = """
import sys
class Full:
    def find_spec(self, name, path=None, target=None):
        if name in ("qhal.pipeline", "qhal.system.shortage"):
            raise MemoryError
sys.meta_path.insert(0, Full())
from qhal.cli.entry import main
sys.exit(main())
"""


def test_too_little_memory_for_the_words_of_an_error(tmp_path: Path) -> None:
    """There is none either for the modules that tell what lacks."""
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM, *WITH_DATA],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error QH801: ")
    assert "Traceback" not in done.stderr


def test_a_deleted_working_folder(tmp_path: Path) -> None:
    script = f"mkdir gone; cd gone; rmdir ../gone; $QHAL {' '.join(WITH_DATA)}"
    done = shell(script, tmp_path)
    assert done.returncode == 2
    assert "The working folder is gone" in done.stderr
    done = shell(f"{script} --out {tmp_path / 'out'}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "record.json").is_file()


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    model = os.fsdecode(b"caf\xe9.onnx")
    (tmp_path / model).write_bytes((DIGITS / "digits.onnx").read_bytes())
    data = DIGITS / "calibration.npz"
    script = (
        'M=$(printf "caf\\351.onnx"); '
        f'$QHAL deploy "$M" --target cpu --data {data} --no-cache --json >found.json && '
        f'$QHAL deploy "$M" --target cpu --data {data} --no-cache --force >text'
    )
    done = shell(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "found.json").read_text())["model"]["file"] == model
    out = tmp_path / os.fsdecode(b"caf\xe9-cpu-w8a8")
    assert json.loads((out / "record.json").read_text())["model"]["file"] == model
    assert r"caf\udce9.onnx" in (out / "report.md").read_text(encoding="utf-8").replace(
        "\\\\", "\\"
    )


# --- signals ----------------------------------------------------------------------

_IN_C = """
import ctypes, signal, sys
from pathlib import Path
from qhal.cli import main as shell
from qhal.output import OutputFolder
from qhal.system.scratch import scratch

class Stuck:
    SUMMARY = "run C code that does not come back"
    add_arguments = staticmethod(lambda parser: None)

    def run(self, arguments, registry=None):
        with scratch() as folder, OutputFolder("out") as output:
            output.write("record.json", "{}")
            Path("ready").write_text(str(folder))
            # Waits for a lock that never comes, and goes on waiting when a signal interrupts it.
            mutex = ctypes.create_string_buffer(64)
            library = ctypes.CDLL(None)
            library.pthread_mutex_lock(mutex)
            library.pthread_mutex_lock(mutex)

shell.COMMANDS["stuck"] = Stuck()
sys.exit(shell.main(["stuck"]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_what_is_deep_in_a_runtime(tmp_path: Path, number: int, code: int) -> None:
    """A C function that takes interrupted calls up again, as a runtime's threads pools do."""
    program = tmp_path / "stuck.py"
    program.write_text(_IN_C)
    environment = {**os.environ, "PYTHONPATH": PATH, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, str(program)], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    ) as process:
        try:
            wait_until((tmp_path / "ready").exists, process)
            assert Path((tmp_path / "ready").read_text()).is_dir()
            process.send_signal(number)
            assert process.wait(30) == code
        finally:
            process.kill()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ready", "stuck.py"]


_SLOW_CLEANUP = """
import sys, threading
from pathlib import Path
from qhal.cli import main as shell
from qhal.system import signals
from qhal.system.cleanup import Cleanup

signals._PATIENCE_S = float(sys.argv[1])
lock = threading.Lock()

def put_in_order():
    Path("cleaning").touch()
    lock.acquire()

class Stuck:
    SUMMARY = "hold a lock that the cleanup waits for"
    add_arguments = staticmethod(lambda parser: None)

    def run(self, arguments, registry=None):
        with lock:
            Cleanup(put_in_order)
            Path("ready").touch()
            threading.Event().wait()

shell.COMMANDS["stuck"] = Stuck()
sys.exit(shell.main(["stuck"]))
"""


@pytest.mark.parametrize(
    ("patience", "signals", "said"),
    [("1", 1, "the cleanup did not end in 1 s"), ("600", 2, "interrupted twice")],
)
def test_a_cleanup_that_does_not_end(
    tmp_path: Path, patience: str, signals: int, said: str
) -> None:
    program = tmp_path / "stuck.py"
    program.write_text(_SLOW_CLEANUP)
    with subprocess.Popen(
        [sys.executable, str(program), patience],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PATH},
        stderr=subprocess.PIPE,
    ) as process:
        try:
            wait_until((tmp_path / "ready").exists, process)
            for _ in range(signals):
                process.send_signal(signal.SIGTERM)
                wait_until((tmp_path / "cleaning").exists, process)
                time.sleep(1)  # who presses twice waits longer than who sends a signal twice
            _, stderr = process.communicate(timeout=30)
            assert process.returncode == 143
        finally:
            process.kill()
    assert said in stderr.decode()
    assert "nothing is left half-written" not in stderr.decode()


def test_a_signal_that_is_sent_twice_at_once_still_cleans_up(tmp_path: Path) -> None:
    program = tmp_path / "stuck.py"
    program.write_text(_IN_C)
    environment = {**os.environ, "PYTHONPATH": PATH, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, str(program)], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    ) as process:
        try:
            wait_until((tmp_path / "ready").exists, process)
            for _ in range(2):
                process.send_signal(signal.SIGINT)
                time.sleep(0.02)
            _, stderr = process.communicate(timeout=30)
            assert process.returncode == 130
        finally:
            process.kill()
    assert stderr == b"interrupted: nothing is left half-written\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ready", "stuck.py"]


# --- what stays behind -------------------------------------------------------------


def test_nothing_is_left_in_the_home_or_among_temporary_files(tmp_path: Path) -> None:
    for folder in ("home", "tmp", "work"):
        (tmp_path / folder).mkdir()
    script = f"$QHAL {' '.join(WITH_DATA)} --out out"
    script += f"; $QHAL {' '.join(WITH_DATA).replace(' cpu', ' cpu,openvino-cpu')} --out more"
    done = shell(
        script, tmp_path / "work", HOME=str(tmp_path / "home"), TMPDIR=str(tmp_path / "tmp")
    )
    assert done.returncode in (0, 2), done.stderr  # 2 where OpenVINO is not installed
    assert list((tmp_path / "home").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []


# --- threads ----------------------------------------------------------------------


def test_more_threads_than_any_use_are_refused(tmp_path: Path) -> None:
    assert too_many_threads(usable_cores()) == ""
    assert "for each core" in too_many_threads(100_000)
    done = shell(f"$QHAL {' '.join(WITH_DATA)} --threads 100000", tmp_path)
    assert done.returncode == OptionError.exit_code
    assert "threads is 100000" in done.stderr
    done = shell("$QHAL bench nowhere --threads 100000", tmp_path)
    assert "threads is 100000" in done.stderr
