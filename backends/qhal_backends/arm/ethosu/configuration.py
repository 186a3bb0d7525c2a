"""The NPU and the system for which Vela compiles: the options of a profile and their values."""

from __future__ import annotations

from collections.abc import Iterable
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from qhal.errors import CatalogError
from qhal.targets.profile import TargetProfile

REQUIRED = ("accelerator", "system_config", "memory_mode")
CONFIG_FILE = "vela_config"
OPTIONS = frozenset({*REQUIRED, CONFIG_FILE})
"""Options of a profile; see :class:`Configuration`."""

ARM_CONFIG = "Arm/vela.ini"
"""Arm's own configurations, which are part of the package."""

VALUES_FROM = "Vela 5.2, `vela --help` and `vela --list-configs Arm/vela.ini`"

ACCELERATORS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
"""What Vela compiles for; from :data:`VALUES_FROM`."""

_SYSTEMS, _MODES = "System_Config.", "Memory_Mode."

ARM_SECTIONS = (
    *(f"{_SYSTEMS}Ethos_U55_{name}" for name in ("Deep_Embedded", "High_End_Embedded")),
    *(f"{_SYSTEMS}Ethos_U65_{name}" for name in ("Embedded", "Mid_End", "High_End")),
    f"{_SYSTEMS}Ethos_U65_Client_Server",
    *(f"{_SYSTEMS}Ethos_U85_SYS_Flash_{name}" for name in ("Low", "High")),
    *(f"{_SYSTEMS}Ethos_U85_SYS_DRAM_{name}" for name in ("Low", "Mid", "High")),
    *(f"{_MODES}{name}" for name in ("Sram_Only", "Shared_Sram", "Dedicated_Sram")),
    *(f"{_MODES}Dedicated_Sram_{size}KB" for size in (256, 384, 512)),
)
"""Sections of Arm's configuration file, for where Vela is not installed; from
:data:`VALUES_FROM`."""


@dataclass(frozen=True)
class Configuration:
    """The NPU and the system for which Vela compiles; its own defaults are never used.

    Attributes:
        accelerator: such as ``ethos-u55-128``: generation and MACs per cycle.
        system_config: section of the configuration file with clock, bandwidths and latencies.
        memory_mode: section that says where weights and activations lie.
        file: the configuration file: a path, or a name inside the package.
    """

    accelerator: str
    system_config: str
    memory_mode: str
    file: str = ARM_CONFIG

    @property
    def is_u85(self) -> bool:
        """True for the generation that has more operators than the two before it."""
        return self.accelerator.startswith("ethos-u85")

    @property
    def arguments(self) -> list[str]:
        """The options of Vela's command line."""
        return [
            *("--accelerator-config", self.accelerator),
            *("--config", self.file),
            *("--system-config", self.system_config),
            *("--memory-mode", self.memory_mode),
        ]

    def __str__(self) -> str:
        return f"{self.accelerator}, {self.system_config}, {self.memory_mode}"


def configuration_of(target: TargetProfile) -> Configuration:
    """Read the configuration from a profile's options.

    Raises:
        CatalogError: one of ``accelerator``, ``system_config`` and ``memory_mode`` is missing or
            has a value unknown to Vela; or the configuration file is invalid.
    """
    options = target.options
    for key in REQUIRED:
        if key not in options:
            raise CatalogError(
                f"{target.origin or 'targets.toml'}: targets.{target.name}.options has no {key}.",
                "`vela --list-configs Arm/vela.ini` lists system configurations and memory modes.",
            )
    file = options.get(CONFIG_FILE, ARM_CONFIG)
    sections = sections_of(file)
    if not sections:
        raise _not_allowed(
            target, CONFIG_FILE, f"the path of a Vela configuration file, or {ARM_CONFIG}"
        )
    for key, allowed in {
        "accelerator": ACCELERATORS,
        "system_config": _named(sections, _SYSTEMS),
        "memory_mode": _named(sections, _MODES),
    }.items():
        if options[key] not in allowed:
            raise _not_allowed(target, key, ", ".join(allowed))
    own = str(Path(file).resolve()) if Path(file).is_file() else file
    return Configuration(**{key: options[key] for key in REQUIRED}, file=own)


def _not_allowed(target: TargetProfile, key: str, allowed: str) -> CatalogError:
    return CatalogError(
        f"{target.origin or 'targets.toml'}: targets.{target.name}.options.{key} is "
        f"{target.options[key]!r}; allowed: {allowed}.",
        f"These values come from {VALUES_FROM}, and from the file that {CONFIG_FILE} names.",
    )


def _named(sections: Iterable[str], kind: str) -> tuple[str, ...]:
    return tuple(name.removeprefix(kind) for name in sections if name.startswith(kind))


def sections_of(file: str) -> tuple[str, ...]:
    """Read the sections of a configuration file; empty if it is invalid.

    Args:
        file: a path, or a name inside Vela's package, which need not be installed for Arm's own.
    """
    package = package_folder()
    inside = [package / "config_files" / file] if package is not None else []
    found = next((path for path in (Path(file), *inside) if path.is_file()), None)
    if found is None:
        return ARM_SECTIONS if file == ARM_CONFIG else ()
    parser = ConfigParser()
    try:
        parser.read(found, encoding="utf-8")
    except (ConfigParserError, OSError, UnicodeDecodeError):
        return ()
    return tuple(parser.sections())


def package_folder() -> Path | None:
    """Find the folder of Vela's package; None if it is not installed."""
    spec = find_spec("ethosu")
    folders = None if spec is None else spec.submodule_search_locations
    return Path(folders[0]) if folders else None
