"""Canonical graph -> ONNX.

:func:`to_onnx` writes a float graph; :class:`OnnxWriter` and :func:`emit` are its parts, for
backends that write ONNX of their own.
"""

from __future__ import annotations

from qhal.ir.export.call import ExportCall
from qhal.ir.export.emitters import emit, needed_opset
from qhal.ir.export.model import to_onnx
from qhal.ir.export.writer import BASE_OPSET, OnnxWriter

__all__ = ["BASE_OPSET", "ExportCall", "OnnxWriter", "emit", "needed_opset", "to_onnx"]
