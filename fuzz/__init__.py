"""Hostile input and hostile machines: ``python -m fuzz``; see fuzz/README.md."""
