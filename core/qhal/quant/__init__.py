"""Quantization: constraints, calibration, parameters, and the integer oracle."""
