"""Types of columns in words, as errors name them."""

from __future__ import annotations

import pyarrow as pa

PLURAL = {
    "text": "text",
    "a list of numbers": "lists of numbers",
    "a list": "lists",
    "true or false": "true or false",
    "a whole number": "whole numbers",
    "a number": "numbers",
}


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type are real numbers."""
    return nature(kind) in ("a whole number", "a number")


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists."""
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values of this type are bytes, which tables of FITS hold where text is meant."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def nature(kind: pa.DataType) -> str:
    """One value of a type in words, such as "a number"; of the type `ID`, "an id, ..."."""
    if pa.types.is_null(kind):
        return "an id, a whole number or text"
    if is_text(kind):
        return "text"
    if is_list(kind):
        return "a list of numbers" if is_number(kind.value_type) else "a list"
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_integer(kind):
        return "a whole number"
    if pa.types.is_floating(kind):
        return "a number"
    return f"of type {kind}"


def held(kind: pa.DataType) -> str:
    """The values of a type in words, as errors name them: "text", "lists of 6 numbers"."""
    if pa.types.is_null(kind):
        return "nothing but nulls"
    if pa.types.is_fixed_size_list(kind) and is_number(kind.value_type):
        return f"lists of {kind.list_size} numbers"
    if is_list(kind):
        return f"lists of {held(kind.value_type)}"
    return PLURAL.get(nature(kind), f"values {nature(kind)}")
