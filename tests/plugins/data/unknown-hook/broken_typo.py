"""A plugin with a misspelt hook."""

from qhal.plugin.hookspec import hookimpl


@hookimpl
def qhal_backend():
    return []
