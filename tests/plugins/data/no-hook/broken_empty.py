"""A plugin that forgot the marker."""


def qhal_backends():
    return []
