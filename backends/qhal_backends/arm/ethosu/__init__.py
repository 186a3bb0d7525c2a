"""Ethos-U: a ``.tflite`` file, compiled by Arm's Vela for the NPU and the Cortex-M beside it."""
