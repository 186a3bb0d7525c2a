"""Write the C and C++ sources that a Cortex-M project needs besides TensorFlow Lite Micro."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qhal_backends.arm.cortexm.arena import Arena

HEADER = "model_data.h"
DATA = "model_data.c"
RESOLVER = "model_ops.h"

_BYTES_PER_LINE = 16

_WORDS = {
    "ARG_MAX": "ArgMax",
    "AVERAGE_POOL_2D": "AveragePool2D",
    "BATCH_MATMUL": "BatchMatMul",
    "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "MAX_POOL_2D": "MaxPool2D",
    "PADV2": "PadV2",
    "SELECT_V2": "SelectV2",
}
"""Builtin operators whose method is not simply their name in camel case."""


def model_header(size_bytes: int, arena: Arena | None) -> str:
    """Declare the model, and the size of its arena if it is known.

    Args:
        size_bytes: of the ``.tflite`` file.
        arena: of the device; None if tflite-micro is not installed.
    """
    known = []
    if arena is not None:
        known = [
            "",
            f"// An arena, aligned to 16 bytes, that the model loads with: {arena.kernels}.",
            "// It counts pointers of 64 bits, so a little of it stays free on the device.",
            f"#define MODEL_ARENA_BYTES {arena.total_bytes}",
        ]
    return _lines(
        "// The model as an array, aligned as the flatbuffer wants it. Written by qhal.",
        "#pragma once",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"#define MODEL_DATA_BYTES {size_bytes}",
        *known,
        "",
        "extern const unsigned char model_data[MODEL_DATA_BYTES];",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
    )


def model_source(content: bytes) -> str:
    """Define the model: the bytes of the ``.tflite`` file, 16-byte aligned (C11 and C++11)."""
    return _lines(
        "// The model as an array. Written by qhal.",
        f'#include "{HEADER}"',
        "",
        "#ifdef __cplusplus",
        "#define MODEL_ALIGNED alignas(16)",
        "#else",
        "#define MODEL_ALIGNED _Alignas(16)",
        "#endif",
        "",
        "MODEL_ALIGNED const unsigned char model_data[MODEL_DATA_BYTES] = {",
        *_rows_of(content),
        "};",
    )


def _rows_of(content: bytes) -> Iterable[str]:
    for start in range(0, len(content), _BYTES_PER_LINE):
        row = content[start : start + _BYTES_PER_LINE]
        yield f"    0x{row.hex(' ').replace(' ', ', 0x')},"


def resolver_header(builtins: Sequence[str]) -> str:
    """Write a resolver of exactly the operators that the model has.

    Methods: ``Add…`` of tensorflow/lite/micro/micro_mutable_op_resolver.h.

    Args:
        builtins: names of builtin operators, each once.
    """
    calls = (f"  TF_LITE_ENSURE_STATUS(resolver.Add{method_of(name)}());" for name in builtins)
    return _lines(
        "// The operators of the model. Written by qhal.",
        "#pragma once",
        "",
        '#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"',
        "",
        f"constexpr int kModelOperators = {len(builtins)};",
        "using ModelOpResolver = tflite::MicroMutableOpResolver<kModelOperators>;",
        "",
        "inline TfLiteStatus AddModelOperators(ModelOpResolver& resolver) {",
        *calls,
        "  return kTfLiteOk;",
        "}",
    )


def method_of(builtin: str) -> str:
    """Name the end of the resolver's method: ``AveragePool2D`` for ``AVERAGE_POOL_2D``."""
    return _WORDS.get(builtin) or "".join(word.capitalize() for word in builtin.split("_"))


def _lines(*lines: str) -> str:
    return "\n".join([*lines, ""])
