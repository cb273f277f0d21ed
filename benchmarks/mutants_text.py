"""Mutants of JSON and of text: YAML, CSV, ECSV, VOTable, DS9 regions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

Random = np.random.Generator
STRANGE: tuple[Any, ...] = (
    None, "", "x", "é", "nan", -1, 0, 1, 1.5, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 1e308, -1e308,
    float("nan"), float("inf"), True, [], {}, [1], [[]], {"a": 1}, "\x00", "1e400", " ", "\x1b[2J",
    "../x", "1,5", "--", "0x10", "1_000", "-9999", "b'1'", "1.0", "N/A",
)  # fmt: skip
DEPTH = 3000  # of nested brackets


# --- JSON -----------------------------------------------------------------------------------------


def damaged_value(value: Any, rng: Random) -> Any:
    """A tree of JSON with one of its entries removed, renamed, repeated or made strange."""
    if not isinstance(value, dict | list) or not value:
        return _damaged_leaf(value, rng)
    if rng.random() < 0.15:
        return STRANGE[rng.integers(len(STRANGE))]
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[rng.integers(len(keys))]
    other = keys[rng.integers(len(keys))]
    changed = dict(value) if isinstance(value, dict) else list(value)
    what = rng.random()
    if what < 0.15:
        del changed[key]
    elif what < 0.22 and isinstance(changed, dict):
        changed[str(key).upper()] = changed.pop(key)
    elif what < 0.30 and isinstance(changed, list):
        changed.insert(int(rng.integers(len(changed) + 1)), changed[key])
    elif what < 0.36:
        changed[key], changed[other] = changed[other], changed[key]
    elif what < 0.40:
        changed[key] = [changed[key]]
    elif what < 0.42 and not isinstance(changed[key], dict | list):
        changed[key] = [changed[key]] * 5000
    else:
        changed[key] = damaged_value(changed[key], rng)
    return changed


def _damaged_leaf(value: Any, rng: Random) -> Any:
    """Another value, or the number in quotes, with another sign, or far too large."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and rng.random() < 0.5:
        return (str(value), -value, value * 10**6, value + 0.5, [value])[rng.integers(5)]
    if isinstance(value, str) and rng.random() < 0.3:
        return (value.upper(), value + " ", value * 1000, value[::-1], value.encode().hex())[
            rng.integers(5)
        ]
    return STRANGE[rng.integers(len(STRANGE))]


def damaged_json(content: bytes, rng: Random) -> bytes:
    lines = content.decode().splitlines()
    if len(lines) > 1 and all(line.startswith("{") for line in lines):  # a journal
        at, other = (int(each) for each in rng.integers(len(lines), size=2))
        if rng.random() < 0.2:
            lines[at], lines[other] = lines[other], lines[at]
        elif rng.random() < 0.2:
            lines.insert(at, lines[other])
        else:
            lines[at] = _json_text(json.loads(lines[at]), rng)
        return "\n".join(lines).encode() + b"\n"
    return _json_text(json.loads(content), rng).encode()


def _json_text(value: Any, rng: Random) -> str:
    """Damaged JSON; what a tree cannot hold, such as a key said twice, is put in as text."""
    if rng.random() < 0.7:
        return json.dumps(damaged_value(value, rng))
    written = json.dumps(value)
    places = [at for at, mark in enumerate(written) if mark in "{[,:"]
    if not places:
        return written
    at = places[rng.integers(len(places))] + 1
    if rng.random() < 0.4 and isinstance(value, dict) and value:
        key = list(value)[rng.integers(len(value))]
        twice = json.dumps({key: damaged_value(value[key], rng)})[1:-1]
        return "{" + twice + "," + written.lstrip()[1:]
    put = (
        "[" * DEPTH + "]" * DEPTH + ",", '{"a":' * DEPTH + "1" + "}" * DEPTH + ",",
        "9" * 5000 + ",", "-Infinity,", "// remark\n", ",", '"\\ud800",', "1e999,", "\ufeff",
    )  # fmt: skip
    return written[:at] + put[rng.integers(len(put))] + written[at:]


# --- text -----------------------------------------------------------------------------------------


def damaged_text(content: bytes, rng: Random) -> bytes:
    """Text with a word or line removed, repeated, moved or made strange, or written otherwise."""
    written = content.decode()
    if rng.random() < 0.15:
        return _encoded(written, rng)
    lines = written.splitlines(keepends=True)
    at, other = (int(each) for each in rng.integers(len(lines), size=2))
    match rng.integers(10):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines[at] = " " * int(rng.integers(1, 5)) + lines[at]
        case 3:
            lines[at], lines[other] = lines[other], lines[at]
        case 4:
            lines[at:at] = lines[: int(rng.integers(len(lines)))]
        case 5:
            lines[at] = _swapped(lines[at], rng)
        case 6:
            lines = [_without_word(line, at) for line in lines]
        case 7:
            put = ("[" * DEPTH, "- " * DEPTH, "(" * DEPTH, "9" * 5000, "&a [*a, *a]", "#", "\t",
                   "<!--", "%", "!!python/object/apply:os.system [touch /tmp/x]", '"')  # fmt: skip
            marks = [k for k, mark in enumerate(lines[at]) if mark in " :,[>"] or [0]
            split = marks[rng.integers(len(marks))] + 1
            lines[at] = lines[at][:split] + put[rng.integers(len(put))] + lines[at][split:]
        case _:
            separator = _separator(lines[at])
            words = lines[at].rstrip("\n").split(separator)
            words[rng.integers(len(words))] = str(STRANGE[rng.integers(len(STRANGE))])
            lines[at] = separator.join(words) + "\n"
    return "".join(lines).encode("utf-8", "surrogatepass")


def _separator(line: str) -> str:
    return "," if line.count(",") > 1 else " "


def _swapped(line: str, rng: Random) -> str:
    """The line with two words exchanged, or one of them twice, as in a header of a table."""
    separator = _separator(line)
    words = line.rstrip("\n").split(separator)
    first, second = rng.integers(len(words), size=2)
    if rng.random() < 0.5:
        words[first], words[second] = words[second], words[first]
    else:
        words[first] = words[second]
    return separator.join(words) + "\n"


def _without_word(line: str, at: int) -> str:
    """The line without its word number `at`: a column that is gone from the header and all rows."""
    separator = _separator(line)
    words = line.rstrip("\n").split(separator)
    del words[at % len(words)]
    return separator.join(words) + "\n"


def _encoded(written: str, rng: Random) -> bytes:
    """Text in another encoding, or with other ends of lines or separators."""
    match rng.integers(10):
        case 0:
            return written.encode("utf-16")
        case 1:
            return written.encode("utf-8-sig")
        case 2:
            return written.replace("e", "é", 1).encode("latin-1")
        case 3:
            return written.encode("utf-16-le")
        case 4:
            return written.replace("\n", "\r\n").encode()
        case 5:
            return written.replace("\n", "\r").encode()
        case 6:
            return written.replace(",", ";").replace(".", ",").encode()
        case 7:
            return written.replace(",", "\t").encode()
        case 8:
            return written.replace("\n", "\n\n").encode()
        case _:
            return written.rstrip("\n").encode() + b"\x1a"
