"""A plugin that returns things that are no backends and no targets."""

from qhal.plugin.hookspec import hookimpl


@hookimpl
def qhal_backends() -> list[str]:
    return ["a text"]


@hookimpl
def qhal_targets() -> list[dict[str, str]]:
    return [{"name": "a dict"}]
