"""Runs a quantized model, node by node."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

import numpy as np

from qhal.errors import InternalError
from qhal.ir.graph import Graph, Node
from qhal.quant.model import QuantModel
from qhal.quant.oracle.context import Kernel, KernelContext, Operands
from qhal.quant.oracle.dispatch import build
from qhal.quant.oracle.values import Array


class Oracle:
    """Executes a :class:`~qhal.quant.model.QuantModel`.

    Kernels are prepared at the first run and used again; a run holds only the tensors that a
    later node still reads.
    """

    def __init__(self, model: QuantModel) -> None:
        self._model = model

    def run(self, inputs: Mapping[str, Array], keep: Collection[str] = ()) -> dict[str, Array]:
        """Compute the outputs.

        Args:
            inputs: graph input -> value, of the graph's shapes and types.
            keep: further tensors to return.

        Returns:
            Outputs and the tensors in ``keep``, by name, of the graph's shapes and types.

        Raises:
            InternalError: an input is missing or of a wrong type, a tensor in ``keep`` does not
                exist, or there is no kernel for an operator.
        """
        graph = self._model.graph
        wanted = {*graph.outputs, *keep}
        if unknown := wanted - graph.tensors.keys():
            raise InternalError(f"the oracle was asked for unknown tensors {sorted(unknown)}")
        values: dict[str, Array] = {**graph.constants, **_checked(graph, inputs)}
        for node, kernel, last in zip(graph.nodes, self._kernels, self._last_uses, strict=True):
            operands = [values[name] if name else None for name in node.inputs]
            values.update(zip(node.outputs, kernel(operands), strict=True))
            for name in last - wanted:
                del values[name]
        return {name: np.asarray(values[name], order="C") for name in wanted}

    @cached_property
    def _kernels(self) -> tuple[Kernel, ...]:
        return tuple(_prepare(self._model, node) for node in self._model.graph.nodes)

    @cached_property
    def _last_uses(self) -> tuple[frozenset[str], ...]:
        """For every node, the tensors that nothing reads after it."""
        seen: set[str] = set()
        last: list[frozenset[str]] = []
        for node in reversed(self._model.graph.nodes):
            names = frozenset(name for name in (*node.inputs, *node.outputs) if name)
            last.append(names - seen)
            seen |= names
        return tuple(reversed(last))


def _prepare(model: QuantModel, node: Node) -> Kernel:
    """Build a node's kernel, so that its results have the types that the graph states."""
    kernel = build(KernelContext.of(model, node))
    types = [model.graph.tensors[name] for name in node.outputs]

    def run(operands: Operands) -> tuple[Array, ...]:
        results = kernel(operands)
        for name, value, expected in zip(node.outputs, results, types, strict=True):
            if value.shape != expected.shape:
                raise InternalError(
                    f"the oracle computed '{name}' ({node.op.kind}) with shape"
                    f" {value.shape}, the graph says {expected.shape}"
                )
        return tuple(
            value.astype(expected.dtype.numpy, copy=False)
            for value, expected in zip(results, types, strict=True)
        )

    return run


def _checked(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    for name in graph.inputs:
        expected = graph.tensors[name]
        if name not in inputs:
            raise InternalError(f"the oracle got no value for the input '{name}'")
        value = inputs[name]
        if value.shape != expected.shape or value.dtype != expected.dtype.numpy:
            raise InternalError(
                f"the oracle got {value.dtype}{list(value.shape)} for the input '{name}',"
                f" expected {expected}"
            )
    return {name: inputs[name] for name in graph.inputs}
