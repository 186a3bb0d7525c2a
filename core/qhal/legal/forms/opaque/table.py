"""ONNX operator -> its forms, for the nodes of it that are opaque; the preferred one first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results
from qhal.legal.forms.opaque import indexing, recurrent, resampling, sums, windows

OPAQUE_FORMS: Mapping[str, tuple[Callable[[Draft], Results], ...]] = {
    "ArgMax": (indexing.last_arg_max,),
    "ArgMin": (indexing.last_arg_min,),
    "AveragePool": (windows.dilated_average_pool,),
    "CumSum": (sums.cum_sum_by_product, sums.cum_sum_by_adding),
    "GRU": (recurrent.unrolled,),
    "GatherElements": (indexing.gather_elements,),
    "GatherND": (indexing.gather_nd,),
    "GlobalLpPool": (windows.global_power_pool,),
    "LSTM": (recurrent.unrolled,),
    "LpPool": (windows.power_pool,),
    "MaxPool": (windows.dilated_max_pool,),
    "OneHot": (indexing.one_hot,),
    "Pad": (resampling.wrapping_pad,),
    "RNN": (recurrent.unrolled,),
    "Resize": (resampling.resize,),
    "ReverseSequence": (indexing.reverse_sequence,),
    "ScatterElements": (indexing.scatter_elements,),
    "ScatterND": (indexing.scatter_nd,),
}
"""By the ONNX name; an operator that has no canonical form only in some of its settings is here
for those."""
