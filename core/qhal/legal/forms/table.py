"""Operator kind -> its other forms, the preferred one first.

Exact forms come before approximations; among exact ones, those that quantize better or need
fewer operators come first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qhal.legal.forms import functions, movement, norms, recurrent, volumes
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results

Form = Callable[[Draft], Results]

FORMS: Mapping[str, tuple[Form, ...]] = {
    "HardSwish": (functions.hard_swish_by_hard_sigmoid, functions.hard_swish_by_relu6),
    "HardSigmoid": (functions.hard_sigmoid_by_relu6, functions.hard_sigmoid_by_clip),
    "Silu": (functions.silu,),
    "Gelu": (functions.gelu_by_erf, functions.gelu_by_tanh),
    "Sigmoid": (functions.sigmoid_by_tanh,),
    "Tanh": (functions.tanh_by_sigmoid,),
    "Elu": (functions.elu_by_unit_elu, functions.elu),
    "Softplus": (functions.softplus,),
    "Relu": (functions.relu_by_clip, functions.relu_by_maximum),
    "Relu6": (functions.relu6_by_clip, functions.relu6_by_minimum),
    "Clip": (
        functions.clip_by_relu,
        functions.clip_by_bounds,
        functions.clip_by_one_relu,
        functions.clip_by_scaled_relu6,
    ),
    "Maximum": (functions.maximum_by_clip, functions.maximum_by_relu, movement.expanded),
    "Minimum": (functions.minimum_by_clip, functions.minimum_by_relu, movement.expanded),
    "LeakyRelu": (functions.leaky_relu_by_prelu, functions.leaky_relu_by_maximum),
    "PRelu": (functions.prelu_by_leaky_relu, functions.prelu_by_relu),
    "Div": (functions.div_by_mul, functions.div_by_reciprocal, movement.expanded),
    "Mod": (functions.truncating_mod, movement.expanded),
    "Sub": (functions.sub_by_add, movement.expanded),
    "Pow": (functions.power, movement.expanded),
    **dict.fromkeys(("Add", "Mul", "Compare", "Logical", "Where"), (movement.expanded,)),
    "Sign": (functions.sign_by_comparing,),
    "Rsqrt": (functions.rsqrt_by_div,),
    "Sqrt": (functions.sqrt_by_power,),
    "Reciprocal": (functions.reciprocal_by_div,),
    "Neg": (functions.neg,),
    "Abs": (functions.abs_by_maximum, functions.abs_by_relu),
    "LayerNorm": (norms.layer_norm_by_rsqrt, norms.layer_norm_by_sqrt),
    "InstanceNorm": (norms.instance_norm_by_rsqrt, norms.instance_norm_by_sqrt),
    "LogSoftmax": (norms.log_softmax, norms.log_softmax_by_softmax),
    "ReduceMean": (norms.mean_by_pool, norms.mean_by_sum),
    "ReduceSum": (norms.sum_by_mean,),
    "ReduceMax": (norms.max_by_pool,),
    "ReduceMin": (norms.min_by_max,),
    "AveragePool": (
        norms.average_pool_by_mean,
        norms.average_pool_by_depthwise,
        norms.average_pool_by_pieces,
        norms.average_pool_by_counts,
    ),
    "FullyConnected": (movement.fully_connected_by_conv, movement.fully_connected_by_matmul),
    "MatMul": (movement.matmul_by_fully_connected,),
    "ConvTranspose": (volumes.conv_transpose_by_cut, volumes.conv_transpose_by_conv),
    "DepthwiseConv": (movement.depthwise_by_conv,),
    "Concat": (movement.concat_in_tens,),
    "Split": (movement.split_by_slices,),
    "Gather": (movement.gather_by_slice,),
    "Expand": (movement.expand_by_tile,),
    "Tile": (movement.tile_by_concat,),
    "DepthToSpace": (movement.depth_to_space,),
    "SpaceToDepth": (movement.space_to_depth,),
    "Lstm": (recurrent.unrolled_lstm,),
    "Gru": (recurrent.unrolled_gru,),
    "Rnn": (recurrent.unrolled_rnn,),
}
