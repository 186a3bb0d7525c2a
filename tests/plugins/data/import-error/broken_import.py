"""A plugin whose own dependency is missing."""

import a_package_that_does_not_exist  # noqa: F401
