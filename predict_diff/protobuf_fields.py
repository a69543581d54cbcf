"""Protobuf's wire format, as far as it takes to write large files field by field, without holding them."""

from __future__ import annotations

#: Wire type of fields that state their length: messages, bytes, packed numbers.
_LENGTH = 2


def field_start(number: int, length: int) -> bytes:
    """Tag and length of a field; `length` bytes of content follow."""
    return _varint(number << 3 | _LENGTH) + _varint(length)


def _varint(value: int) -> bytes:
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
