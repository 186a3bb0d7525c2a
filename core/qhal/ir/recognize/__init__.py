"""Recognize operators in their usual decompositions, and fold what folds into weights."""

from qhal.ir.recognize.in_order import recognize

__all__ = ["recognize"]
