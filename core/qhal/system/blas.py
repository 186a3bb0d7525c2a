"""One thread for NumPy's matrix products while runtimes compute next to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread for as long as the block lasts, and restore its own limit then.

    Idle threads of a BLAS pool spin. On a machine that is busy, or next to the threads of ONNX
    Runtime, they take the cores from whoever has work to do.
    """
    import numpy as np  # noqa: F401 - only libraries that are loaded can be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
