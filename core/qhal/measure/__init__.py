"""Measurement: latency, memory, size and bits of the artifact and of its float counterpart."""

from qhal.measure.measurement import Measurement, measure
from qhal.measure.memory import peak_memories
from qhal.measure.timing import Clocked, Pair, clock, ratio

__all__ = ["Clocked", "Measurement", "Pair", "clock", "measure", "peak_memories", "ratio"]
