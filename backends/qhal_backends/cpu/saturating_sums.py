"""Exact sums on processors whose sums of integer products saturate.

x86-64 without VNNI multiplies unsigned with signed bytes by VPMADDUBSW, which adds two products
in 16 bits. Where activations and weights are large the sum saturates, and the artifact computes
something else than the plan and than other processors. With a session option ONNX Runtime makes
the weights unsigned as it loads them and takes kernels that add in 32 bits. It does so with VNNI
too, where these kernels take twice the time; so it is asked only where sums saturate.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from qhal.decisions import Code, Decision
from qhal.plugin.backend import Artifact

if TYPE_CHECKING:
    import onnx
    import onnxruntime

SETTING = "session.x64quantprecision"
"""The key of the session option; "1" takes exact kernels. Source: ONNX Runtime,
include/onnxruntime/core/session/onnxruntime_session_options_config_keys.h."""

_PRODUCT = bytes.fromhex(
    "08073a5c0a180a01610a0162120163220d4d61744d756c496e74656765721201675a130a0161120e0a0c08021208"
    "0a0208020a0208045a130a0162120e0a0c080312080a0208040a02081062130a0163120e0a0c080612080a020802"
    "0a02081042040a00100d"
)
"""An ONNX model of one MatMulInteger: uint8 ``a`` (2, 4) times int8 ``b`` (4, 16) is int32 ``c``.

Written out, because a process that only runs artifacts need not load the package ``onnx`` (8 MB).
"""


@cache
def sums_saturate() -> bool:
    """True if ONNX Runtime's usual kernels add integer products inexactly on this processor.

    The largest product is added up and looked at, which is true of every system, of virtual
    machines that hide instructions, and of emulators that show those of their host.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(_PRODUCT, options, providers=["CPUExecutionProvider"])
    largest = {"a": np.full((2, 4), 255, np.uint8), "b": np.full((4, 16), 127, np.int8)}
    (sums,) = session.run(None, largest)
    return not np.array_equal(sums, np.full_like(sums, 4 * 255 * 127))


def require_exact_sums(options: onnxruntime.SessionOptions) -> None:
    """Set the option where this processor needs it; without signed weights it changes nothing."""
    if sums_saturate():
        options.add_session_config_entry(SETTING, "1")


def may_saturate(model: onnx.ModelProto) -> bool:
    """Whether sums of an artifact saturate somewhere: it has signed weights of integers."""
    from onnx import TensorProto

    signed = {w.name for w in model.graph.initializer if w.data_type == TensorProto.INT8}
    read = (node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear")
    return any(name in signed for name in read)


def decisions_about(model: onnx.ModelProto) -> tuple[Decision, ...]:
    """Tell whoever ships an artifact what it takes."""
    if not may_saturate(model):
        return ()
    sentence = (
        f"On x86-64 processors without VNNI the artifact has to be loaded with {SETTING} 1, which "
        "ONNX Runtime takes from no file: its usual kernels there saturate sums at 16 bits, which "
        "can cost most of the accuracy. With VNNI the setting takes twice the time for nothing."
    )
    return (Decision(Code.RUNTIME_SETTING, sentence),)


def decisions_here(artifact: Artifact) -> tuple[Decision, ...]:
    """Tell what was set on this processor."""
    import onnx

    if not sums_saturate():
        return ()
    if not may_saturate(onnx.load_model_from_string(artifact.files[artifact.main])):
        return ()
    sentence = (
        "This processor saturates ONNX Runtime's sums of integer products at 16 bits: the "
        f"artifact ran with {SETTING} 1 here, exact and with the latency of that."
    )
    return (Decision(Code.RUNTIME_SETTING, sentence),)
