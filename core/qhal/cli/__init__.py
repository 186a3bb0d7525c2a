"""The command line: a thin shell over :mod:`qhal`, one file per command."""
