"""A plugin with a misspelt hook."""

from qhal.plugin.backend import Backend
from qhal.plugin.hookspec import hookimpl


@hookimpl
def qhal_backend() -> list[Backend]:
    return []
