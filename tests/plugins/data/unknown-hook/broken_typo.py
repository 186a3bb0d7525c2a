"""A plugin with a misspelled hook."""

from qhal.plugin.hookspec import hookimpl


@hookimpl
def qhal_backend():
    return []
