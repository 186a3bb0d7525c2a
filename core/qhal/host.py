"""The machine that runs qhal: what its numbers depend on, and where qhal keeps files there."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PACKAGES = ("quant-hal", "numpy", "onnx", "onnx-ir", "onnxruntime")
"""Distributions whose versions change results, whatever the target."""

_THREADS_PER_CORE = 8
"""More only wait for each other; each one costs memory."""

_ISA_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "neon",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)


def versions(further: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python and of every distribution that is installed.

    Args:
        further: distributions beside those of :data:`PACKAGES`, such as what backends run on.
    """
    found = {"python": platform.python_version()}
    for name in dict.fromkeys((*PACKAGES, *further)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, object]:
    """Describe processor, instruction sets for int8, cores, memory, load and system."""
    cpu = _cpu_info()
    found: dict[str, object] = {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "machine": platform.machine(),
        "isa": _isa(cpu.get("flags", cpu.get("Features", ""))),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.release()}",
    }
    if (memory := memory_bytes()) is not None:
        found["memory_bytes"] = memory
    if (load := load_average()) is not None:
        found["load_average"] = load
    return found


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def too_many_threads(count: int) -> str:
    """Why so many threads are not started, in words; "" if they may be."""
    most = _THREADS_PER_CORE * usable_cores()
    if count <= most:
        return ""
    return f"At most {most} are started here, {_THREADS_PER_CORE} for each core that is usable."


def load_average() -> float | None:
    """Return runnable processes, averaged over the last minute; None if the system has no count."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def memory_bytes() -> int | None:
    """Return physical memory; None where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def peak_memory_bytes() -> int | None:
    """Return the largest resident size of this process so far; None if it is not reported."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    lines = (line.split() for line in status.splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[:1] == ["VmHWM:"]), None)


def cache_folder() -> Path | None:
    """Return the folder for what qhal can make again.

    ``$QHAL_CACHE``, else ``qhal`` in the user's cache folder; None if the user has no home.
    """
    if own := os.environ.get("QHAL_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "qhal"
    try:
        return Path.home() / ".cache" / "qhal"
    except RuntimeError:
        return None


def _cpu_info() -> dict[str, str]:
    """Read the first processor's fields of /proc/cpuinfo; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _isa(flags: str) -> list[str]:
    have = set(flags.split())
    return [flag for flag in _ISA_FLAGS if flag in have]
