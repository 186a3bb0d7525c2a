"""Cortex-M: a ``.tflite`` file with the C sources that TensorFlow Lite Micro needs around it."""
