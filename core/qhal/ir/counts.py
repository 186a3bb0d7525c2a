"""Where the windows of a pooling lie, and how many of their taps are on the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Line:
    """One dimension over which windows slide.

    Attributes:
        size: of the input.
        kernel: taps of a window.
        stride: step between windows.
        begin: where the first window starts in front of the input.
        windows: number of windows.
    """

    size: int
    kernel: int
    stride: int
    begin: int
    windows: int

    def spans(self) -> list[tuple[int, int]]:
        """Return where the part of each window that lies on the input starts and ends."""
        starts = [i * self.stride - self.begin for i in range(self.windows)]
        return [(max(start, 0), min(start + self.kernel, self.size)) for start in starts]

    def segments(self) -> list[Segment]:
        """Return windows in a row of which equally many taps lie on the input."""
        found: list[Segment] = []
        for start, end in self.spans():
            last = found[-1] if found else None
            follows = last is not None and last.next_start(self.stride) == start
            if last is not None and follows and last.kernel == end - start:
                found[-1] = replace(last, end=end)
            else:
                found.append(Segment(start, end, end - start))
        return found


@dataclass(frozen=True)
class Segment:
    """Windows in a row, without padding.

    Attributes:
        start: where the first of them starts.
        end: where the last of them ends.
        kernel: taps of each.
    """

    start: int
    end: int
    kernel: int

    def next_start(self, stride: int) -> int:
        """Return where one more window would start."""
        return self.end - self.kernel + stride


def correction(lines: Sequence[Line]) -> npt.NDArray[np.float32]:
    """Return what means that count padding are multiplied with to be those of the input alone.

    Its shape is (1, 1, *windows), as it stands beside (N, C, *windows).
    """
    inside = [np.array([end - start for start, end in line.spans()]) for line in lines]
    factor = np.prod([line.kernel for line in lines]) / reduce(np.multiply.outer, inside)
    return np.asarray(factor[None, None], np.float32)
