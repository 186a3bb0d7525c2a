"""A plugin whose hook raises."""

from qhal.plugin.hookspec import hookimpl


@hookimpl
def qhal_backends() -> None:
    raise RuntimeError("the driver does not answer")
