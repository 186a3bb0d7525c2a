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
    BATCH_BOUND = ("QD101", "a free leading dimension was set to 1")
    SHAPE_BOUND = ("QD102", "a free dimension was set with --shape")
    OPAQUE = ("QD103", "an ONNX operator has no canonical form and is kept as it is, in float")
    UNROLLED = ("QD104", "a recurrent operator or a loop was unrolled for a fixed length")
    DECOMPOSED = ("QD105", "an operator that the target lacks was rewritten with others")
    TRANSPOSE_KEPT = ("QD106", "a transpose could not be removed and stays in the artifact")
    LAYOUT = (
        "QD107",
        "the order of dimensions of an artifact's input or output differs from the model's",
    )
    FLOAT_CONVERTED = ("QD109", "a float16, bfloat16 or float64 tensor was converted to float32")
    OUTPUTS_CHOSEN = ("QD110", "the model ends at other tensors than its own outputs")
    INDEX_TYPE = (
        "QD111",
        "the element type of an artifact's input or output of indices differs from the model's",
    )
    STATE_FOUND = ("QD120", "an output feeds an input again: the model is run in a loop")
    STATE_UNCLEAR = (
        "QD121",
        "an output may feed back into an input, but was not treated as a state",
    )
    # QD2xx data and calibration
    CALIBRATION_SPLIT = ("QD201", "evaluation uses the samples that calibration did not use")
    EVALUATION_OVERLAP = ("QD202", "evaluation and calibration use some of the same data")
    CONSTANT_RANGE = (
        "QD203",
        "a tensor had the same value in every sample; its scale was set by convention",
    )
    RANGE_CLIPPED = (
        "QD204",
        "a range was chosen that is narrower than the values that calibration saw",
    )
    SAMPLES_SKIPPED = ("QD205", "fewer samples were available than requested")
    LABELS_UNUSED = ("QD207", "labels do not fit the model's outputs and were not used")
    EVALUATION_REDUCED = (
        "QD208",
        "a slow runtime, or the oracle, ran only a part of the evaluation data",
    )
    LABELS_SHIFTED = ("QD209", "labels seem to be off by one")
    DROP_IN_DOUBT = ("QD210", "top-1 dropped, but by so few samples that it may be chance")
    FLOAT_AT_CHANCE = (
        "QD215",
        "the float model itself is right no more often than by chance, judged by the labels",
    )
    FLOAT_WORSE = (
        "QD226",
        "the float model is right more often if the data or labels are prepared otherwise",
    )
    OUTPUT_FAR = ("QD216", "an output is far from the float model's")
    NOT_HANDED_OUT = ("QD217", "the artifact was refused; only its record and report were kept")
    STATISTICS_IGNORED = (
        "QD219",
        "cached calibration statistics were damaged or changed, and were not used",
    )
    STATES_ROLLED = (
        "QD230",
        "statistics are of a sequence in which the float model's states feed it again",
    )
    INPUT_CONSTANT = ("QD231", "an input never changes in the calibration data")
    LOOP_DRIFT = ("QD232", "with its own states fed back, the artifact leaves the float model")
    LOOP_UNTESTED = ("QD233", "the evaluation data say little about the loop")
    # QD3xx constraints
    FLOAT_FALLBACK = ("QD301", "a node runs in float because no kernel of the recipe supports it")
    UNIT_FALLBACK = ("QD302", "a node does not run on the target's main unit")
    REFUSED = ("QD303", "no kernel of the target supports the node")
    BOUNDARY = ("QD304", "a conversion (Quantize, Dequantize or Requantize) was inserted")
    RELATION = (
        "QD305",
        "a Requantize was inserted where tensors must share quantization parameters",
    )
    FOLLOWED_FLOAT = ("QD306", "a data-movement node stays in float because its input is float")
    OUTPUT_PROMOTED = (
        "QD307",
        "a mean or wide softmax that is a float output runs in float: 8 bits are too coarse",
    )
    STEEP_OPERAND = (
        "QD308",
        "a node that feeds a logarithm, root or quotient runs in float: these are steep near "
        "zero, where integers are too coarse",
    )
    JOIN_PROMOTED = (
        "QD309",
        "a node runs in float because one scale would leave an operand too few quantization steps",
    )
    FEW_STEPS = (
        "QD310",
        "an operand keeps few quantization steps, since it shares a scale with wider ones",
    )
    WIDER_WEIGHT = (
        "QD311",
        "a weight keeps more bits than asked for, since no kernel of the recipe takes its node",
    )
    STATE_PROMOTED = (
        "QD320",
        "a node that carries a state to the next frame runs in float: rounding would add up",
    )
    # QD4xx parameters
    BIAS_SCALE_RAISED = (
        "QD401",
        "a weight scale was raised so that the bias fits its integer type",
    )
    BIAS_CORRECTED = ("QD402", "biases were corrected for the mean error of quantized weights")
    ROUNDED_WITH_GPTQ = (
        "QD403",
        "weights were rounded with GPTQ: each rounding error is compensated in later weights",
    )
    EQUALIZED = (
        "QD404",
        "channels in front of depthwise convolutions were scaled to a common range",
    )
    WEIGHTS_FITTED = (
        "QD405",
        "weights were fitted to what their node sees behind quantized layers",
    )
    # QD5xx lowering and running
    NOT_COMPILED = (
        "QD501",
        "the vendor's compiler is not installed; the artifact was not compiled",
    )
    COMPILED = ("QD502", "the vendor's compiler was run on the artifact")
    PLACEMENT_DIFFERS = ("QD503", "the runtime did not run a node as declared")
    NOT_RUNNABLE = ("QD504", "the artifact cannot run on this machine; nothing was measured")
    ENERGY_UNAVAILABLE = (
        "QD505",
        "the target has no power figure with a source, so there is no energy proxy",
    )
    NOT_FASTER = ("QD506", "the quantized artifact is not faster than the float one on this host")
    ORACLE_GAP = (
        "QD507",
        "some outputs of the runtime and the oracle differ by more than one quantization step",
    )
    RUNTIME_SETTING = (
        "QD508",
        "the artifact needs a runtime setting that its file cannot store",
    )
    FACT_UNKNOWN = ("QD509", "a fact of the target looks like a misspelled known one")
    MEMORY_UNCHECKED = (
        "QD510",
        "the size of a target's memory, or the model's need of it, is unknown and was not checked",
    )
    UNFIT = ("QD511", "the target has a kernel for every node but cannot run the model as a whole")
    SATURATING_SUMS = (
        "QD514",
        "on processors without VNNI, the runtime saturates sums that the plan computes exactly",
    )
    EXECUTION_UNKNOWN = (
        "QD515",
        "the runtime does not report whether products run in their declared integer types",
    )
    MEMORY_UNMEASURED = ("QD518", "peak memory was not measured on this host")
    NOT_EMULATED = ("QD520", "the artifact was not run in an emulation of the target")
    EMULATION_DIFFERS = (
        "QD521",
        "the emulated target and this host compute different results from the same artifact",
    )
    MORE_INSTRUCTIONS = (
        "QD522",
        "the quantized artifact executes more instructions on the target than the float one",
    )
    COMPILER_FAILED = (
        "QD523",
        "the vendor's compiler failed, so the artifact was not compiled",
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
        sentence: what happened and why in one sentence, with the offending value.
        subject: name of the node or tensor it is about; empty for the whole model.
        severity: how much it matters.
    """

    code: Code
    sentence: str
    subject: str = ""
    severity: Severity = Severity.INFO
