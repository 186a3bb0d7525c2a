"""A plugin with a misspelled hook."""

from qhal.plugin.backend import Backend
from qhal.plugin.hookspec import hookimpl


@hookimpl
def qhal_backend() -> list[Backend]:
    return []
