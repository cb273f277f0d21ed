"""Mutants of files: some bytes changed, the whole file hurt, or its structure changed.

`damaged` gives the bytes of one, drawn from a random generator; `damage.py` lets readers try them.
`mutants_text.py` changes the structure of text, `mutants_tables.py` that of tables and arrays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import mutants_tables as tables
from mutants_text import Random, damaged_json, damaged_text

BLOCK = 4096  # of a disk; that of FITS is 2880


def damaged(path: Path, content: bytes, rng: Random) -> bytes:
    """The bytes of a mutant of a file: of its structure in half the cases, where it has one."""
    change = STRUCTURES.get(path.suffix)
    what = rng.random()
    if change is not None and what < 0.5:
        with contextlib.suppress(Exception):  # some changes cannot be written as such a file
            return change(content, rng)
    return damaged_whole(content, rng) if what > 0.88 else damaged_bytes(content, rng)


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


def damaged_whole(content: bytes, rng: Random) -> bytes:
    """What disks, copies and downloads do to a file, of whatever kind it is."""
    block = (BLOCK, 2880, 512)[rng.integers(3)]
    at = int(rng.integers(len(content) // block + 1)) * block
    other = int(rng.integers(len(content) // block + 1)) * block
    match rng.integers(10):
        case 0:  # a block that was never written
            return content[:at] + bytes(len(content[at : at + block])) + content[at + block :]
        case 1:
            return content[:at]
        case 2:  # two copies in one file
            return content + content
        case 3:  # the end of an older, longer file
            return content + content[at:]
        case 4:  # two blocks changed places
            first, second = sorted((at, other))
            return (
                content[:first]
                + content[second : second + block]
                + content[first + block : second]
                + content[first : first + block]
                + content[second + block :]
                if second >= first + block
                else content[second:]
            )
        case 5:  # copied as text
            return content.replace(b"\n", b"\r\n")
        case 6:
            return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r")
        case 7:  # read as Latin-1, written as UTF-8
            return content.decode("latin-1").encode()
        case 8:
            return b"<!DOCTYPE html>\n<html><body>503 Service Unavailable</body></html>\n" + content
        case _:  # padded by a tape or a tar
            return content + bytes(block)


STRUCTURES: dict[str, Callable[[bytes, Random], bytes]] = {
    **dict.fromkeys((".json", ".jsonl"), damaged_json),
    **dict.fromkeys((".yaml", ".csv", ".ecsv", ".xml", ".reg"), damaged_text),
    ".parquet": tables.damaged_parquet,
    ".fits": tables.damaged_fits,
    ".npz": tables.damaged_npz,
    ".npy": tables.damaged_npy,
    ".pth": tables.damaged_pickle,
    ".safetensors": tables.damaged_safetensors,
}
