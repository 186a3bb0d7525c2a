"""Tests of :mod:`qhal.quant.repair`."""
