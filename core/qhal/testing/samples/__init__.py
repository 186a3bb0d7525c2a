"""Graphs of one operator with data: what each kernel of a backend can be tried with.

The samples know no backend. Whoever tests one takes those of an operator that meet the limits of
the backend's kernel, runs them, and compares with the oracle.
"""

from qhal.testing.samples.collected import ATTRIBUTES, EDGES, SAMPLES
from qhal.testing.samples.sample import Sample, random_data

__all__ = ["ATTRIBUTES", "EDGES", "SAMPLES", "Sample", "random_data"]
