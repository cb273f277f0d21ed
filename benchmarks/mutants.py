"""Mutants of files: some bytes changed, or the structure of Parquet, FITS, JSON, text and arrays.

`damaged` gives the bytes of one, drawn from a random generator; `damage.py` lets readers try them.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Random = np.random.Generator
STRANGE: tuple[Any, ...] = (
    None, "", "x", "é", "nan", -1, 0, 1, 1.5, 2**31, 2**63, 2**64, 10**30, 1e308, -1e308,
    float("nan"), float("inf"), True, [], {}, [1], [[]], {"a": 1}, "\x00", "1e400", " ",
)  # fmt: skip


def damaged(path: Path, content: bytes, rng: Random) -> bytes:
    """The bytes of a mutant of a file: of its structure in half the cases, where it has one."""
    change = STRUCTURES.get(path.suffix)
    if change is not None and rng.random() < 0.5:
        with contextlib.suppress(Exception):  # some changes cannot be written as such a file
            return change(content, rng)
    return damaged_bytes(content, rng)


def damaged_bytes(content: bytes, rng: Random) -> bytes:
    """Bytes flipped, cut, zeroed, repeated or put in; more often near the ends, where tables of
    contents are."""
    for _ in range(int(rng.integers(1, 4))):
        n = max(len(content), 1)
        near = int(min(abs(rng.normal()) * 200, n - 1))
        at = (int(rng.integers(n)), near, n - 1 - near)[rng.integers(3)]
        some = int(2 ** rng.uniform(0, 10))
        match rng.integers(6):
            case 0:
                flipped = bytes([(content[at : at + 1] or b"0")[0] ^ (1 << int(rng.integers(8)))])
                content = content[:at] + flipped + content[at + 1 :]
            case 1:
                content = content[:at]
            case 2:
                content = content[:at] + bytes(some) + content[at + some :]
            case 3:
                content = content[:at] + content[at : at + some] + content[at:]
            case 4:
                content = content[:at] + rng.bytes(some % 16) + content[at + some % 16 :]
            case 5:
                content = content[:at] + content[at + some :]
    return content


def damaged_value(value: Any, rng: Random) -> Any:
    """A tree of JSON with one of its entries removed, renamed, repeated or made strange."""
    if rng.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return STRANGE[rng.integers(len(STRANGE))]
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[rng.integers(len(keys))]
    changed = dict(value) if isinstance(value, dict) else list(value)
    what = rng.random()
    if what < 0.2:
        del changed[key]
    elif what < 0.3 and isinstance(changed, dict):
        changed[str(key).upper()] = changed.pop(key)
    elif what < 0.4 and isinstance(changed, list):
        changed.insert(int(rng.integers(len(changed) + 1)), changed[key])
    else:
        changed[key] = damaged_value(changed[key], rng)
    return changed


def damaged_json(content: bytes, rng: Random) -> bytes:
    lines = content.decode().splitlines()
    if len(lines) > 1 and all(line.startswith("{") for line in lines):  # a journal
        at = int(rng.integers(len(lines)))
        lines[at] = json.dumps(damaged_value(json.loads(lines[at]), rng))
        return "\n".join(lines).encode() + b"\n"
    return json.dumps(damaged_value(json.loads(content), rng)).encode()


def damaged_text(content: bytes, rng: Random) -> bytes:
    """Text with a word or line removed, repeated, moved or made strange."""
    lines = content.decode().splitlines(keepends=True)
    at = int(rng.integers(len(lines)))
    match rng.integers(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[rng.integers(len(lines))])
        case 2:
            lines[at] = " " * int(rng.integers(1, 5)) + lines[at]
        case _:
            separator = "," if lines[at].count(",") > 1 else " "
            words = lines[at].rstrip("\n").split(separator)
            words[rng.integers(len(words))] = str(STRANGE[rng.integers(len(STRANGE))])
            lines[at] = separator.join(words) + "\n"
    return "".join(lines).encode()


def damaged_parquet(content: bytes, rng: Random) -> bytes:
    """A table whose columns or metadata were changed."""
    table = pq.read_table(io.BytesIO(content))
    for _ in range(int(rng.integers(1, 3))):
        table = _changed_table(table, rng)
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=bool(rng.random() < 0.9))
    return sink.getvalue()


def _changed_table(table: pa.Table, rng: Random) -> pa.Table:
    at = int(rng.integers(table.num_columns))
    name, column = table.column_names[at], table.column(at)
    metadata = table.schema.metadata or {}
    what = rng.random()
    if what < 0.12:
        return table.remove_column(at)
    if what < 0.17:
        names = list(table.column_names)
        names[at] = names[rng.integers(len(names))] if rng.random() < 0.5 else name.upper()
        return table.rename_columns(names)
    if what < 0.22:
        return table.replace_schema_metadata(None)
    if what < 0.32 and metadata:
        key = list(metadata)[rng.integers(len(metadata))]
        with contextlib.suppress(ValueError):
            changed = json.dumps(damaged_value(json.loads(metadata[key]), rng)).encode()
            return table.replace_schema_metadata(metadata | {key: changed})
        return table.replace_schema_metadata({k: v for k, v in metadata.items() if k != key})
    if what < 0.36:
        return table.slice(0, int(rng.integers(3)))
    if what < 0.40:
        return pa.concat_tables([table, table.slice(0, 2)])
    field_ = table.schema.field(at)
    if what < 0.46:
        strange = {b"unit": str(STRANGE[rng.integers(len(STRANGE))]).encode()}
        return table.set_column(at, field_.with_metadata(strange), column)
    return table.set_column(at, name, _changed_column(column.to_pylist(), column.type, rng))


def _changed_column(values: list[Any], kind: pa.DataType, rng: Random) -> pa.Array:
    """Values with some that are strange, in this or another type."""
    some = [int(each) for each in rng.integers(max(len(values), 1), size=3)]
    strange = STRANGE[rng.integers(len(STRANGE))]
    what = rng.integers(8)
    if what == 0:
        return pa.nulls(len(values), kind)
    if what == 1:
        return pa.array([str(each) for each in values])
    if what == 2:
        return pa.array([each if isinstance(each, int | float) else 0 for each in values],
                        pa.float64(), from_pandas=False)  # fmt: skip
    if what == 3:
        return pa.array([strange] * len(values))
    if what == 4 and values and isinstance(values[0], list):
        longer = [each and each[: int(rng.integers(len(each) + 1))] for each in values]
        return pa.array(longer, pa.list_(kind.value_type))
    if what == 5:
        return pa.array([[each] for each in values])
    if what == 6:
        return pa.array(values, kind).dictionary_encode()
    for row in some:
        if row < len(values):
            values[row] = _inside(values[row], strange, rng)
    with contextlib.suppress(pa.ArrowException, TypeError, ValueError):
        return pa.array(values, kind)
    return pa.array([None if each is None else str(each) for each in values])


def _inside(value: Any, strange: Any, rng: Random) -> Any:
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = int(rng.integers(len(value)))
        return [*value[:at], strange, *value[at + 1 :]]
    return strange


def damaged_fits(content: bytes, rng: Random) -> bytes:
    """A FITS file with a card or column changed, or an extension removed."""
    from astropy.io import fits

    if rng.random() < 0.6:
        return _changed_card(content, rng)
    with fits.open(io.BytesIO(content)) as hdus:
        at = int(rng.integers(len(hdus)))
        if len(hdus) > 1 and rng.random() < 0.3:
            del hdus[max(at, 1)]
        elif isinstance(hdus[at], fits.BinTableHDU):
            columns = hdus[at].columns
            name = columns.names[rng.integers(len(columns))]
            match rng.integers(3):
                case 0:
                    columns.del_col(name)
                case 1:
                    columns.change_name(name, name.lower() + "x")
                case 2:
                    values = np.array(hdus[at].data[name], copy=True)
                    values.reshape(-1)[rng.integers(values.size)] = (
                        np.nan if values.dtype.kind == "f" else np.iinfo(values.dtype).min
                    )
                    hdus[at].data[name] = values
        else:
            data = hdus[at].data
            if data is not None:
                hdus[at].data = data[..., : int(rng.integers(1, 5))]
        sink = io.BytesIO()
        hdus.writeto(sink, output_verify="ignore")
    return sink.getvalue()


def _changed_card(content: bytes, rng: Random) -> bytes:
    """One card of a header removed, or with another value."""
    cards = [
        at
        for at in range(0, len(content) - 80, 80)
        if content[at + 8 : at + 10] == b"= " and content[at : at + 8].strip().isascii()
    ]
    at = cards[rng.integers(len(cards))]
    if rng.random() < 0.2:
        return content[:at] + b" " * 80 + content[at + 80 :]
    value = STRANGE[rng.integers(len(STRANGE))]
    written = f"'{value}'" if isinstance(value, str) else {True: "T"}.get(value, str(value)[:60])
    card = content[at : at + 10] + f"{written:>20}".encode("ascii", "replace")[:70].ljust(70)
    return content[:at] + card + content[at + 80 :]


def damaged_npz(content: bytes, rng: Random) -> bytes:
    """Arrays removed, of another type, shape or name, or with strange values."""
    with np.load(io.BytesIO(content)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = list(arrays)[rng.integers(len(arrays))]
    values = arrays.pop(name)
    match rng.integers(6):
        case 0:
            pass
        case 1:
            arrays[name] = values.astype(str)
        case 2:
            arrays[name] = values[..., : int(rng.integers(3))]
        case 3:
            arrays[name] = np.array([STRANGE[rng.integers(len(STRANGE))]], dtype=object)
        case 4:
            arrays[name] = values[None]
        case 5:
            values = values.astype(np.float64)
            values.reshape(-1)[rng.integers(values.size)] = rng.choice([np.nan, np.inf, 1e308, -1])
            arrays[name] = values
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


def damaged_npy(content: bytes, rng: Random) -> bytes:
    values = np.load(io.BytesIO(content))
    kinds = (">f8", "i2", "U3", "c8", "?", "f2", "M8[s]")
    sink = io.BytesIO()
    np.save(sink, values.astype(kinds[rng.integers(len(kinds))])[..., : int(rng.integers(64))])
    return sink.getvalue()


def damaged_safetensors(content: bytes, rng: Random) -> bytes:
    """Another header: the length of it stands in the first eight bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(damaged_value(json.loads(content[8 : 8 + length]), rng)).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


STRUCTURES: dict[str, Callable[[bytes, Random], bytes]] = {
    **dict.fromkeys((".json", ".jsonl"), damaged_json),
    **dict.fromkeys((".yaml", ".csv", ".ecsv", ".xml", ".reg"), damaged_text),
    ".parquet": damaged_parquet,
    ".fits": damaged_fits,
    ".npz": damaged_npz,
    ".npy": damaged_npy,
    ".safetensors": damaged_safetensors,
}
