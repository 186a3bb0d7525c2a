"""What tests of backends need: the project's own and those of plugins."""
