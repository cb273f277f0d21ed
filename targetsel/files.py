"""Files that appear whole or not at all.

Results are written beside their final name and renamed at the end, so that a killed run or a
full disk never leaves half a file where a reader would look for a whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from targetsel.errors import OutputError


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to `path` when the block ends without an error.

    Raises
    ------
    OutputError
        If the directory is missing, or the disk is full or not writable; nothing is left then.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Create it first.")
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written: {error.strerror or error}. "
            "Nothing was left there; free some space or choose another place."
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def sha256_of_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
