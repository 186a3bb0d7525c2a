"""The Coral Edge TPU."""
