"""Exact sums on processors whose sums of integer products saturate.

x86-64 without VNNI multiplies unsigned with signed bytes by VPMADDUBSW, which adds two products
in 16 bits. If activations and weights are large, the sum saturates, and the artifact computes
neither what was planned nor what other processors compute. With a session option ONNX Runtime
makes the weights unsigned as it loads them and uses kernels that add in 32 bits. It does so with
VNNI too, where these kernels take twice as long; so the option is set only where sums saturate.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from qhal.decisions import Code, Decision
from qhal.plugin.backend import Artifact

if TYPE_CHECKING:
    import onnxruntime

SETTING = "session.x64quantprecision"
"""The key of the session option; "1" selects exact kernels. Source: ONNX Runtime,
include/onnxruntime/core/session/onnxruntime_session_options_config_keys.h."""

_PRODUCT = bytes.fromhex(
    "08073a5c0a180a01610a0162120163220d4d61744d756c496e74656765721201675a130a0161120e0a0c08021208"
    "0a0208020a0208045a130a0162120e0a0c080312080a0208040a02081062130a0163120e0a0c080612080a020802"
    "0a02081042040a00100d"
)
"""An ONNX model of one MatMulInteger: uint8 ``a`` (2, 4) times int8 ``b`` (4, 16) is int32 ``c``.

Written out so that a process that only runs artifacts need not load the package ``onnx`` (8 MB).
"""


@cache
def sums_saturate() -> bool:
    """Return True if ONNX Runtime's usual kernels saturate sums of products on this processor.

    It adds up the largest products and looks at the sum. That is right on every system, also in
    virtual machines that hide instructions and in emulators that show those of their host.
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


def may_saturate(written: bytes) -> bool:
    """Return True if sums of an artifact can saturate: it has signed integer weights."""
    from onnx import TensorProto, load_model_from_string

    model = load_model_from_string(written)
    signed = {w.name for w in model.graph.initializer if w.data_type == TensorProto.INT8}
    read = (node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear")
    return any(name in signed for name in read)


def decisions_about(written: bytes) -> tuple[Decision, ...]:
    """Report the setting that the artifact needs wherever it is shipped."""
    if not may_saturate(written):
        return ()
    sentence = (
        f"On x86-64 processors without VNNI, load the artifact with {SETTING} 1: without it, ONNX "
        "Runtime's sums saturate at 16 bits there, which can cost most of the accuracy. The file "
        "cannot store this session option. With VNNI it changes no result and doubles the latency."
    )
    return (Decision(Code.RUNTIME_SETTING, sentence),)


def decisions_here(artifact: Artifact) -> tuple[Decision, ...]:
    """Report what was set on this processor."""
    if not sums_saturate() or not may_saturate(artifact.files[artifact.main]):
        return ()
    sentence = (
        "On this processor ONNX Runtime's sums of integer products saturate at 16 bits, so the "
        f"artifact ran with {SETTING} 1 here: its results are exact, and its latency is that of "
        "the exact kernels."
    )
    return (Decision(Code.RUNTIME_SETTING, sentence),)
