"""Kernel, strides, dilations and padding of convolutions and pools, made explicit."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.ir.onnx.call import ImportCall, Unsupported
from qhal.ir.ops import Ints


@dataclass(frozen=True)
class OnnxWindow:
    """What slides over the spatial dimensions; one entry per dimension."""

    spatial: Ints
    kernel: Ints
    strides: Ints
    dilations: Ints

    @property
    def rank(self) -> int:
        """Number of spatial dimensions."""
        return len(self.spatial)

    @property
    def extent(self) -> Ints:
        """Pixels from the first to the last tap of the kernel."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def window(call: ImportCall, kernel: Ints) -> OnnxWindow:
    """Read the window of a node; ``kernel`` is what its weight says.

    Raises:
        ValueError: attributes do not fit the operand.
    """
    spatial = call.shape()[2:]
    rank = len(spatial)
    stated = call.ints("kernel_shape") or kernel
    ones = (1,) * rank
    found = OnnxWindow(
        spatial, kernel, call.ints("strides") or ones, call.ints("dilations") or ones
    )
    lengths = {len(kernel), len(found.strides), len(found.dilations)}
    if rank == 0 or lengths != {rank} or tuple(stated) != tuple(kernel):
        raise ValueError(
            f"kernel {tuple(stated)}, strides {found.strides} and dilations {found.dilations} "
            f"do not fit {rank} spatial dimensions"
        )
    return found


def explicit_pads(call: ImportCall, frame: OnnxWindow) -> Ints:
    """Resolve ``auto_pad`` to pads: all begins, then all ends."""
    mode = call.text("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        return _stated_pads(call, frame)
    if mode == "VALID":
        return (0,) * (2 * frame.rank)
    total = tuple(
        max((-(-size // stride) - 1) * stride + extent - size, 0)
        for size, stride, extent in zip(frame.spatial, frame.strides, frame.extent, strict=True)
    )
    return _shared_out(total, mode)


def _stated_pads(call: ImportCall, frame: OnnxWindow) -> Ints:
    pads = call.ints("pads") or (0,) * (2 * frame.rank)
    if len(pads) != 2 * frame.rank:
        raise ValueError(f"pads {pads} do not fit {frame.rank} spatial dimensions")
    if min(pads) < 0:
        raise Unsupported(f"its pads {pads} are negative")
    return pads


def _shared_out(total: Ints, mode: str) -> Ints:
    """Halve the padding; the odd pixel goes to the end, or to the begin for SAME_LOWER."""
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad is {mode!r}")
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return small + large if mode == "SAME_UPPER" else large + small


def transposed_pads(call: ImportCall, frame: OnnxWindow) -> tuple[Ints, Ints]:
    """Return pads and output padding of a transposed convolution, ``output_shape`` resolved.

    Source: the formulas of ConvTranspose in the ONNX operator documentation.
    """
    extra = call.ints("output_padding") or (0,) * frame.rank
    mode = call.text("auto_pad", "NOTSET")
    wanted = call.ints("output_shape")
    if wanted is None and mode in ("NOTSET", ""):
        return _stated_pads(call, frame), extra
    if wanted is None and mode == "VALID":
        return (0,) * (2 * frame.rank), extra
    if wanted is None:
        wanted = tuple(size * s for size, s in zip(frame.spatial, frame.strides, strict=True))
    wanted = wanted[-frame.rank :]
    total = [
        frame.strides[i] * (frame.spatial[i] - 1) + extra[i] + frame.extent[i] - wanted[i]
        for i in range(frame.rank)
    ]
    # Where even no padding is too small, the missing pixels are output padding.
    extra = tuple(e + max(-t, 0) for e, t in zip(extra, total, strict=True))
    rule = "SAME_UPPER" if mode == "SAME_UPPER" else "SAME_LOWER"
    return _shared_out(tuple(max(t, 0) for t in total), rule), extra


def ceil_pads(frame: OnnxWindow, pads: Ints) -> Ints:
    """Return pads that make rounding down give what ``ceil_mode`` gives.

    A last window that would start in the padding at the end is left out, as ONNX says.
    """
    ends = []
    for i in range(frame.rank):
        begin, end, stride = pads[i], pads[frame.rank + i], frame.strides[i]
        room = frame.spatial[i] + begin + end - frame.extent[i]
        count = -(-room // stride) + 1
        if (count - 1) * stride >= frame.spatial[i] + begin:
            count -= 1
        ends.append(max(end, (count - 1) * stride - room + end))
    return (*pads[: frame.rank], *ends)
