"""ONNX operator -> its forms, for the nodes of it that are opaque; the preferred one first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results
from qhal.legal.forms.opaque import (
    indexing,
    numbers,
    recurrent,
    resampling,
    signals,
    sums,
    windows,
)

OPAQUE_FORMS: Mapping[str, tuple[Callable[[Draft], Results], ...]] = {
    "Acosh": (numbers.acosh,),
    "ArgMax": (indexing.last_arg_max,),
    "ArgMin": (indexing.last_arg_min,),
    "Asinh": (numbers.asinh,),
    "Atanh": (numbers.atanh,),
    "AveragePool": (windows.dilated_average_pool,),
    "Cosh": (numbers.cosh,),
    "CumSum": (sums.cum_sum_by_product, sums.cum_sum_by_adding),
    "DFT": (signals.dft,),
    "GRU": (recurrent.unrolled,),
    "GatherElements": (indexing.gather_elements,),
    "GatherND": (indexing.gather_nd,),
    "GlobalLpPool": (windows.global_power_pool,),
    "IsInf": (numbers.is_inf,),
    "IsNaN": (numbers.is_nan,),
    "LSTM": (recurrent.unrolled,),
    "LpPool": (windows.power_pool,),
    "MaxPool": (windows.dilated_max_pool,),
    "OneHot": (indexing.one_hot,),
    "Pad": (resampling.wrapping_pad,),
    "RNN": (recurrent.unrolled,),
    "Resize": (resampling.resize,),
    "ReverseSequence": (indexing.reverse_sequence,),
    "STFT": (signals.stft,),
    "ScatterElements": (indexing.scatter_elements,),
    "ScatterND": (indexing.scatter_nd,),
    "Sinh": (numbers.sinh,),
    "Tan": (numbers.tan,),
}
"""By the ONNX name; an operator that has no canonical form only in some of its settings is here
for those."""
