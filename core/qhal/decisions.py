"""Decisions: every fallback, clamp, insertion and rejection, with a code and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How much a decision matters to the reader of the report."""

    INFO = "info"
    WARNING = "warning"
    REFUSAL = "refusal"


class Code(Enum):
    """The stable codes. A member's value is (code, meaning)."""

    # QD1xx import and legalization
    BATCH_BOUND = ("QD101", "a free leading dimension was bound to 1")
    SHAPE_BOUND = ("QD102", "a free dimension was bound with --shape")
    OPAQUE = ("QD103", "an ONNX operator has no canonical form and stays as it is, in float")
    UNROLLED = ("QD104", "a recurrent operator was unrolled for a fixed length")
    DECOMPOSED = ("QD105", "an operator that the target lacks was written as others")
    TRANSPOSE_KEPT = ("QD106", "a transpose that nothing absorbs stays in the artifact")
    LAYOUT = (
        "QD107",
        "inputs or outputs of the artifact have another order of dimensions than the model's",
    )
    FLOAT_CONVERTED = ("QD109", "a float16, bfloat16 or float64 tensor is float32 in qhal")
    # QD2xx data and calibration
    CALIBRATION_SPLIT = ("QD201", "evaluation data were taken from what calibration did not use")
    EVALUATION_OVERLAP = ("QD202", "evaluation and calibration data overlap")
    CONSTANT_RANGE = ("QD203", "a tensor had one value in all samples; its scale is a convention")
    RANGE_CLIPPED = ("QD204", "the observer chose a range smaller than what it saw")
    SAMPLES_SKIPPED = ("QD205", "fewer samples than asked for were available")
    LABELS_UNUSED = ("QD207", "labels do not belong to the model's outputs and were not used")
    EVALUATION_REDUCED = (
        "QD208",
        "a slow runtime, or the oracle, was given a part of the evaluation data",
    )
    LABELS_SHIFTED = ("QD209", "labels look as if they were off by one")
    DROP_IN_DOUBT = ("QD210", "top-1 dropped, by so few samples that chance may explain it")
    STATISTICS_IGNORED = (
        "QD219",
        "kept calibration statistics were damaged, or changed by somebody, and were not used",
    )
    # QD3xx constraints
    FLOAT_FALLBACK = ("QD301", "a node runs in float because no kernel of the recipe takes it")
    UNIT_FALLBACK = ("QD302", "a node runs on another unit than the target's main one")
    REFUSED = ("QD303", "no kernel of the target takes the node")
    BOUNDARY = ("QD304", "a conversion (Quantize, Dequantize or Requantize) was inserted")
    RELATION = ("QD305", "a Requantize was inserted where tensors must share parameters")
    FOLLOWED_FLOAT = ("QD306", "a data-movement node stays in float because its input is float")
    OUTPUT_PROMOTED = (
        "QD307",
        "a mean or wide softmax that is a float output runs in float: 8 bits are too coarse for it",
    )
    STEEP_OPERAND = (
        "QD308",
        "a node that leads to a logarithm, root or quotient runs in float: near zero, where these "
        "are steep, integers are too coarse",
    )
    # QD4xx parameters
    BIAS_SCALE_RAISED = (
        "QD401",
        "a weight scale was raised so that the bias fits its integer type",
    )
    BIAS_CORRECTED = ("QD402", "biases were corrected for the mean error of quantized weights")
    ROUNDED_WITH_GPTQ = (
        "QD403",
        "weights were rounded with GPTQ, later ones making up for the errors of earlier ones",
    )
    EQUALIZED = (
        "QD404",
        "channels in front of depthwise convolutions were scaled to one range",
    )
    # QD5xx lowering and running
    NOT_COMPILED = (
        "QD501",
        "the vendor's compiler is not installed; the artifact was not compiled",
    )
    COMPILED = ("QD502", "the vendor's compiler was run on the artifact")
    PLACEMENT_DIFFERS = ("QD503", "the runtime did not run a node as it was declared")
    NOT_RUNNABLE = ("QD504", "the artifact cannot run on this machine; nothing was measured")
    ENERGY_UNAVAILABLE = (
        "QD505",
        "the target has no sourced power figure; no energy proxy is given",
    )
    NOT_FASTER = ("QD506", "the quantized artifact is not faster than the float one on this host")
    ORACLE_GAP = ("QD507", "the runtime and the oracle differ by more than one step somewhere")
    RUNTIME_SETTING = (
        "QD508",
        "the artifact computes as planned with a setting of the runtime that no file can hold",
    )
    FACT_UNKNOWN = ("QD509", "a fact of the target looks like another one, misspelled")
    MEMORY_UNCHECKED = (
        "QD510",
        "a memory of the target, or what the model takes of it, is not known: not compared",
    )
    UNFIT = ("QD511", "the target has kernels for the model, and refuses it as a whole")
    SATURATING_SUMS = (
        "QD514",
        "on processors without VNNI the runtime saturates sums that the plan takes exactly",
    )
    EXECUTION_UNTOLD = (
        "QD515",
        "the runtime does not tell whether products run in the integers that they were declared in",
    )
    NOT_EMULATED = ("QD520", "the artifact was not run in an emulation of the target")
    EMULATION_DIFFERS = (
        "QD521",
        "the emulated target computes something else than this host from the same artifact",
    )
    MORE_INSTRUCTIONS = (
        "QD522",
        "the quantized artifact executes more instructions on the target than the float one",
    )

    @property
    def id(self) -> str:
        """The code that is printed, such as ``QD301``."""
        return self.value[0]

    @property
    def meaning(self) -> str:
        """One line of documentation."""
        return self.value[1]


@dataclass(frozen=True)
class Decision:
    """One thing that qhal decided on the user's behalf.

    Attributes:
        code: what kind of decision.
        sentence: the whole story in one sentence, with the offending value.
        subject: name of the node or tensor it is about; empty for the whole model.
        severity: how much it matters.
    """

    code: Code
    sentence: str
    subject: str = ""
    severity: Severity = Severity.INFO
