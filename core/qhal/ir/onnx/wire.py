"""Lift weights out of a serialized ModelProto, so that they are never copied.

A ModelProto is walked in its wire format and written again without the payloads of its
larger tensors: each becomes an *external* tensor whose file is the model itself. What is
left is small, whatever the size of the model, and every weight, embedded or external, is a
slice of a memory-mapped file. Source of the numbers: ``onnx.proto`` and the protobuf
encoding, https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

LIFTED_FROM_BYTES = 1024
"""Smaller payloads stay where they are."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
"""Message -> field number -> kind of message, on the way to tensors."""

_DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 4, 9, 13, 14
_FLOAT32 = 1
_EXTERNAL = 1


class WireError(ValueError):
    """The bytes are not a whole protobuf message; the message says where they break off."""


class _Field(NamedTuple):
    """One field: ``[begin, end)`` with its key, ``[start, end)`` its content."""

    number: int
    wire_type: int
    begin: int
    start: int
    end: int


@dataclass(frozen=True)
class _Lifter:
    data: memoryview
    location: str

    def message(self, kind: str, start: int, end: int) -> bytes:
        """Return the message in ``[start, end)`` without its large payloads."""
        children, parts = _CHILDREN[kind], []
        for field in _fields(self.data, start, end):
            child = children.get(field.number) if field.wire_type == _BYTES else None
            if child is None or field.end - field.start < LIFTED_FROM_BYTES:
                parts.append(bytes(self.data[field.begin : field.end]))
            else:
                rewrite = self.tensor if child == "tensor" else self.message
                parts.append(_bytes_field(field.number, rewrite(child, field.start, field.end)))
        return b"".join(parts)

    def tensor(self, _: str, start: int, end: int) -> bytes:
        """Return the TensorProto in ``[start, end)``, its payload replaced by a reference."""
        fields = list(_fields(self.data, start, end))
        payload = self._payload(fields)
        if payload is None:
            return bytes(self.data[start:end])
        kept = [bytes(self.data[f.begin : f.end]) for f in fields if f is not payload]
        offset, length = payload.start, payload.end - payload.start
        return b"".join([*kept, _reference(self.location, offset, length)])

    def _payload(self, fields: list[_Field]) -> _Field | None:
        """Find the field with all elements in little-endian order, if it is worth lifting."""
        if any(f.number == _DATA_LOCATION for f in fields):
            return None
        stored = [f for f in fields if f.number == _RAW_DATA]
        if not stored and self._data_type(fields) == _FLOAT32:
            stored = [f for f in fields if f.number == _FLOAT_DATA and f.wire_type == _BYTES]
        if len(stored) != 1 or stored[0].end - stored[0].start < LIFTED_FROM_BYTES:
            return None
        return stored[0]

    def _data_type(self, fields: list[_Field]) -> int:
        types = [_varint(self.data, f.start, f.end)[0] for f in fields if f.number == _DATA_TYPE]
        return types[-1] if types else 0


def lift_weights(data: memoryview, location: str) -> bytes:
    """Copy a ModelProto without the payloads of its larger tensors.

    Args:
        data: the serialized model.
        location: name of the file that ``data`` comes from, for the references to it.

    Raises:
        WireError: the bytes break off or are no protobuf message.
    """
    return _Lifter(data, location).message("model", 0, len(data))


def _fields(data: memoryview, start: int, end: int) -> Iterator[_Field]:
    """Yield the fields of the message in ``[start, end)``."""
    position = start
    while position < end:
        key, content = _varint(data, position, end)
        number, wire_type = key >> 3, key & 7
        after, content = _content_end(data, wire_type, content, end)
        if number == 0 or after > end:
            raise WireError(
                f"the field at byte {position} needs {after - content:,} bytes, "
                f"{max(end - content, 0):,} are left"
                if number
                else f"there is no field at byte {position}"
            )
        yield _Field(number, wire_type, position, content, after)
        position = after


def _content_end(data: memoryview, wire_type: int, start: int, end: int) -> tuple[int, int]:
    """Return where a field ends and where its content starts."""
    if wire_type == _VARINT:
        return _varint(data, start, end)[1], start
    if wire_type == _BYTES:
        length, content = _varint(data, start, end)
        return content + length, content
    if wire_type in (_FIXED64, _FIXED32):
        return start + (8 if wire_type == _FIXED64 else 4), start
    raise WireError(f"the field at byte {start} has the unknown wire type {wire_type}")


def _varint(data: memoryview, start: int, end: int) -> tuple[int, int]:
    """Read the variable-length integer at ``start``; return it and the position after it."""
    value = shift = 0
    for position in range(start, min(end, start + 10)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise WireError(f"the integer at byte {start} does not end")


def _encode(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _bytes_field(number: int, payload: bytes) -> bytes:
    return _encode(number << 3 | _BYTES) + _encode(len(payload)) + payload


def _reference(location: str, offset: int, length: int) -> bytes:
    """Encode ``external_data`` entries and ``data_location`` of a TensorProto."""
    entries = {"location": location, "offset": str(offset), "length": str(length)}
    coded = [
        _bytes_field(
            _EXTERNAL_DATA, _bytes_field(1, key.encode()) + _bytes_field(2, value.encode())
        )
        for key, value in entries.items()
    ]
    return b"".join(coded) + _encode(_DATA_LOCATION << 3 | _VARINT) + _encode(_EXTERNAL)
