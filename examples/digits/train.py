"""Make the bundled example: a small convolutional classifier of handwritten digits.

It trains on scikit-learn's digits (1,797 images of 8 x 8 pixels, values 0 to 16), writes the
float model as ONNX, and splits off the data to calibrate and to evaluate with. What it writes
is checked in; run it again only to change the example::

    pip install torch==2.13.0 onnx scikit-learn
    python examples/digits/train.py

The network has what real ones have: convolutions with BatchNorm, a depthwise one, a residual
Add, MaxPool, global average pooling and a fully-connected layer. Training is seeded; the ONNX
file is written node by node, so the same weights give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

HERE = Path(__file__).parent
EPOCHS = 60
CALIBRATION_SAMPLES = 128


class Digits(nn.Module):
    """(N, 1, 8, 8) -> (N, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(1, 32)
        self.depthwise = _block(32, 32, groups=32)
        self.pointwise = _block(32, 32, kernel=1)
        self.widen = _block(32, 64)
        self.deepen = _block(64, 64)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.pointwise(torch.relu(self.depthwise(x))))
        x = torch.max_pool2d(x, 2)
        x = torch.relu(self.deepen(torch.relu(self.widen(x))))
        return self.classifier(x.mean((2, 3)))


def _block(inputs: int, outputs: int, *, kernel: int = 3, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def train(images: np.ndarray, labels: np.ndarray) -> Digits:
    """Train with small random shifts of the images."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(64):
            shift = [int(s) for s in torch.randint(-1, 2, (2,))]
            moved = torch.roll(nn.functional.pad(x[batch], (1, 1, 1, 1)), shift, (2, 3))
            loss = nn.functional.cross_entropy(model(moved[:, :, 1:-1, 1:-1]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    model.eval()
    return model


class Writer:
    """Writes the model as ONNX, one node after the other, BatchNorm kept as such."""

    def __init__(self, model: Digits) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def model_proto(self) -> onnx.ModelProto:
        """Return the whole model, opset 17, with a free batch."""
        stem = self.relu(self.block("stem", "image"))
        depthwise = self.relu(self.block("depthwise", stem))
        added = self.node("Add", [stem, self.block("pointwise", depthwise)], "residual")
        pooled = self.node(
            "MaxPool", [self.relu(added)], "pool", kernel_shape=[2, 2], strides=[2, 2]
        )
        wide = self.relu(self.block("widen", pooled))
        deep = self.relu(self.block("deepen", wide))
        mean = self.node("GlobalAveragePool", [deep], "mean")
        flat = self.node("Flatten", [mean], "flat", axis=1)
        weights = self.tensors("classifier", self.model.classifier, ("weight", "bias"))
        self.node("Gemm", [flat, *weights], "logits", transB=1)
        graph = helper.make_graph(
            self.nodes,
            "digits",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
            self.constants,
        )
        opset = helper.make_opsetid("", 17)
        proto = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        onnx.checker.check_model(proto, full_check=True)
        return proto

    def block(self, name: str, x: str) -> str:
        """Add a convolution with its BatchNorm."""
        conv, norm = getattr(self.model, name)
        side = conv.kernel_size[0]
        y = self.node(
            "Conv",
            [x, *self.tensors(f"{name}.conv", conv, ("weight",))],
            f"{name}_conv",
            kernel_shape=[side, side],
            pads=[side // 2] * 4,
            group=conv.groups,
        )
        parts = ("weight", "bias", "running_mean", "running_var")
        return self.node(
            "BatchNormalization", [y, *self.tensors(f"{name}.norm", norm, parts)], name
        )

    def relu(self, x: str) -> str:
        """Add a Relu as a node of its own."""
        return self.node("Relu", [x], f"{x}_relu")

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node with one output and return its name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def tensors(self, prefix: str, module: nn.Module, parts: tuple[str, ...]) -> list[str]:
        """Append weights and return their names."""
        for part in parts:
            array = getattr(module, part).detach().numpy()
            self.constants.append(numpy_helper.from_array(array, f"{prefix}.{part}"))
        return [f"{prefix}.{part}" for part in parts]


def main() -> None:
    """Train, report and write everything."""
    digits = load_digits()
    images = digits.images[:, None].astype(np.float32) / 16
    x, held_x, y, held_y = train_test_split(
        images, digits.target, test_size=500, random_state=0, stratify=digits.target
    )
    model = train(x, y)
    with torch.no_grad():
        top1 = float((model(torch.from_numpy(held_x)).argmax(1).numpy() == held_y).mean())
    print(f"top-1 on {len(held_y)} images that it was not trained on: {top1:.3f}")
    onnx.save(Writer(model).model_proto(), HERE / "digits.onnx")
    some = slice(0, CALIBRATION_SAMPLES)
    np.savez_compressed(HERE / "calibration.npz", image=x[some])
    np.savez_compressed(HERE / "evaluation.npz", image=held_x, labels=held_y.astype(np.int64))


if __name__ == "__main__":
    main()
