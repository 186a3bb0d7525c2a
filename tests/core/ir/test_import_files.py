"""Model files that are damaged, hostile or not models: one clear error, nothing allocated."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data

from qhal.errors import ModelFileError, ModelInvalidError, ModelWeightsError, QhalError
from qhal.ir.graph import Array
from qhal.ir.importer import import_model
from qhal.ir.onnx.wire import WireError, lift_weights
from tests.core.ir.importing import check_same, floats, model, read


def conv_model(weight: np.ndarray | None = None) -> onnx.ModelProto:
    """A convolution with 36 KB of weights."""
    weight = floats(32, 32, 3, 3) if weight is None else weight
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    return model([node], {"x": (1, 32, 8, 8)}, constants={"w": weight})


# --- files ----------------------------------------------------------------------


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no file .*absent\.onnx"):
        import_model(tmp_path / "absent.onnx", {})


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is a folder"):
        import_model(tmp_path, {})


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelFileError, match="is empty"):
        import_model(tmp_path / "empty.onnx", {})


@pytest.mark.parametrize(
    "content",
    [
        b"not a model",
        b"\x00" * 100,
        b"PK\x03\x04" + b"\x14" * 60,
        b'{"a": 1}',
        b"\x08\x08",
        b"\xff" * 40,
    ],
)
def test_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not an ONNX"):
        import_model(path, {})


def test_every_truncation_is_a_clear_error(tmp_path: Path) -> None:
    whole = conv_model(floats(2, 32, 1, 1)).SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises((ModelFileError, ModelInvalidError)):
            import_model(path, {})


def test_truncated_weights_say_how_many_bytes_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(conv_model().SerializeToString()[:20_000])
    with pytest.raises(ModelFileError, match=r"truncated.*needs [\d,]+ bytes, [\d,]+ are left"):
        import_model(path, {})


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_bytes_never_make_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(conv_model(np.ones((2, 32, 1, 1), np.float32)).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(content))
    try:
        import_model(path, {})
    except QhalError as error:
        assert error.code.startswith("QH10")


# --- claims ---------------------------------------------------------------------


def claiming(**changes: object) -> onnx.ModelProto:
    """The convolution with a weight that claims what it does not have."""
    proto = conv_model()
    weight = proto.graph.initializer[0]
    for name, value in changes.items():
        weight.ClearField(name)
        if isinstance(value, list):
            getattr(weight, name).extend(value)
        elif value is not None:
            setattr(weight, name, value)
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        claiming(dims=[1 << 15, 1 << 14]),
        claiming(dims=[1 << 40]),
        claiming(dims=[-1, 32, 3, 3]),
        claiming(raw_data=None),
        claiming(raw_data=b"123"),
        claiming(data_type=TensorProto.STRING),
        claiming(data_type=TensorProto.COMPLEX64),
        claiming(data_type=99),
    ],
)
def test_weights_that_do_not_fit_their_claim(tmp_path: Path, proto: onnx.ModelProto) -> None:
    tracemalloc.start()
    with pytest.raises((ModelInvalidError, ModelWeightsError)):
        read(tmp_path, proto)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 << 20


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_constants_of_absurd_size_are_refused(tmp_path: Path, op: str) -> None:
    huge = np.array([1 << 16, 1 << 16], np.int64)
    constants: dict[str, Array] = {
        "shape": huge,
        "one": np.ones((1, 1), np.float32),
        "zero": np.array(0),
    }
    constants |= {"many": np.array(1 << 33), "step": np.array(1)}
    operands = {"ConstantOfShape": ["shape"], "Range": ["zero", "many", "step"]}
    node = helper.make_node(op, operands.get(op, ["one", "shape"]), ["c"], name="big")
    last = helper.make_node("Identity", ["c"], ["y"])
    with pytest.raises(ModelInvalidError, match=r"'big'.* computes the constant .* bytes"):
        read(tmp_path, model([node, last], {"x": (1,)}, constants=constants))


def test_repeated_values_take_no_memory(tmp_path: Path) -> None:
    constants = {"shape": np.array([1 << 13, 1 << 14], np.int64)}
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    tracemalloc.start()
    graph = read(tmp_path, model(nodes, {"x": (1, 1 << 13)}, constants=constants)).graph
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert graph.tensors["w"].shape == (1 << 14, 1 << 13)
    assert peak < 50 << 20


# --- values ---------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_with_nan_or_inf(tmp_path: Path, value: float) -> None:
    weight = floats(32, 32, 3, 3)
    weight[3, 4, 1, 1] = value
    with pytest.raises(ModelWeightsError, match=r"'w' holds 1 NaN or Inf among 9,216 values"):
        read(tmp_path, conv_model(weight))


def test_masks_of_infinities_are_no_damage(tmp_path: Path) -> None:
    mask = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
    proto = model(
        [helper.make_node("Add", ["x", "m"], ["y"])], {"x": (4, 4)}, constants={"m": mask}
    )
    graph = read(tmp_path, proto).graph
    assert np.array_equal(graph.constants["m"], mask)


# --- weights stay in the file ---------------------------------------------------


def test_weights_are_views_of_the_file(tmp_path: Path) -> None:
    weight = floats(512, 512)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"]),
        helper.make_node("Relu", ["t"], ["y"]),
    ]
    proto = model(nodes, {"x": (1, 512)}, constants={"w": weight})
    tracemalloc.start()
    graph = read(tmp_path, proto).graph
    current = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    found = graph.constants["w"]
    assert np.array_equal(found, weight.T)
    assert not found.flags.owndata
    assert not found.flags.writeable
    assert current < 512 * 1024  # the matrix has a megabyte


def test_weights_in_float_data_are_lifted_too(tmp_path: Path) -> None:
    weight = floats(32, 32, 3, 3)
    proto = claiming(raw_data=None, float_data=weight.reshape(-1).tolist())
    graph = read(tmp_path, proto).graph
    assert np.array_equal(graph.constants["w"], weight)
    assert not graph.constants["w"].flags.writeable


def test_lifting_leaves_small_models_alone() -> None:
    content = conv_model(floats(2, 32, 1, 1)).SerializeToString()
    assert lift_weights(memoryview(content), "m.onnx") == content


def test_lifting_replaces_large_payloads() -> None:
    content = conv_model().SerializeToString()
    lifted = onnx.ModelProto.FromString(lift_weights(memoryview(content), "m.onnx"))
    weight = lifted.graph.initializer[0]
    entries = {entry.key: entry.value for entry in weight.external_data}
    assert not weight.raw_data
    assert entries["location"] == "m.onnx"
    start, length = int(entries["offset"]), int(entries["length"])
    assert content[start : start + length] == conv_model_weight(content)


def conv_model_weight(content: bytes) -> bytes:
    """The payload that protobuf itself finds."""
    return bytes(onnx.ModelProto.FromString(content).graph.initializer[0].raw_data)


@given(st.binary(max_size=200))
def test_lifting_arbitrary_bytes_raises_one_error(content: bytes) -> None:
    try:
        lift_weights(memoryview(content), "m.onnx")
    except WireError as error:
        assert "byte" in str(error)


# --- external weight files ------------------------------------------------------


def external(tmp_path: Path, location: str = "weights.bin") -> onnx.ModelProto:
    """A model whose weight lies in another file."""
    proto = conv_model()
    convert_model_to_external_data(proto, location=location, size_threshold=0)
    onnx.save(proto, str(tmp_path / "model.onnx"))
    return onnx.load(str(tmp_path / "model.onnx"), load_external_data=False)


def test_external_weights(tmp_path: Path) -> None:
    external(tmp_path)
    result = import_model(tmp_path / "model.onnx", {})
    assert not result.graph.constants["w"].flags.owndata
    sizes = [(tmp_path / name).stat().st_size for name in ("model.onnx", "weights.bin")]
    assert result.size_bytes == sum(sizes)
    check_same(onnx.load(str(tmp_path / "model.onnx")).SerializeToString(), result.graph)


def test_external_weights_count_for_the_hash(tmp_path: Path) -> None:
    external(tmp_path)
    before = import_model(tmp_path / "model.onnx", {}).sha256
    content = bytearray((tmp_path / "weights.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(content)
    assert import_model(tmp_path / "model.onnx", {}).sha256 != before


def test_external_file_is_too_short(tmp_path: Path) -> None:
    external(tmp_path)
    content = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(content[:100])
    with pytest.raises(ModelWeightsError, match=r"'w' .*'weights\.bin', which has only 100"):
        import_model(tmp_path / "model.onnx", {})


def test_external_file_is_missing(tmp_path: Path) -> None:
    external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelWeightsError, match=r"'weights\.bin' of tensor 'w' is missing"):
        import_model(tmp_path / "model.onnx", {})


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin"])
def test_external_file_outside_of_the_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 16))
    proto = external(folder)
    for entry in proto.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelWeightsError, match="outside of the model's folder"):
        import_model(folder / "model.onnx", {})


def test_external_file_behind_a_link_that_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    external(folder)
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelWeightsError, match="outside of the model's folder"):
        import_model(folder / "model.onnx", {})


def test_weights_in_a_link_to_itself(tmp_path: Path) -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.bin")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [weight],
    )
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    (tmp_path / "w.bin").symlink_to("w.bin")
    with pytest.raises(ModelWeightsError, match=r"w\.bin"):
        import_model(tmp_path / "m.onnx", {})
