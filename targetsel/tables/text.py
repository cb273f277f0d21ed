"""Text of tables in one form, whatever the file kept it in.

Text is compared as it stands, letter by letter. In FITS and VOTable, and in the bytes that programs
make of FITS text, blanks and NULs that fill a fixed width are no part of it, and text of nothing
else is missing: FITS has no other sign for that, and astropy reads it so, too. In the strings of
Parquet blanks count, and an empty string is a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from targetsel.tables.types import is_bytes


def text_of_bytes(words: Sequence[bytes | None]) -> pa.Array:
    """Bytes as text, up to the first NUL and without blanks behind; null where nothing is left.

    They are UTF-8, or else all of them Latin-1.
    """
    plain = [None if each is None else each.partition(b"\0")[0].rstrip(b" ") for each in words]
    try:
        text = [each and each.decode("utf-8") for each in plain]
    except UnicodeDecodeError:
        text = [each and each.decode("latin-1") for each in plain]
    return pa.array([each or None for each in text], pa.string())


def plain_text(values: pa.Array) -> pa.Array:
    """A column of text or bytes as plain strings, dictionaries written out."""
    if is_bytes(values.type):
        codes, words = encoded_text(values)
        return words.take(pa.array(codes, mask=codes < 0))
    return values if values.type == pa.string() else values.cast(pa.string())


def encoded_text(values: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """A column of text or bytes by numbers: that of each row's text, -1 where missing, and texts.

    Returns
    -------
    codes : ndarray of int, shape (N,)
    words : pa.Array of string
        Each text once.
    """
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    codes = pc.fill_null(values.indices.cast(pa.int32()), -1).to_numpy()
    words = values.dictionary
    if is_bytes(words.type):
        words = text_of_bytes(words.to_pylist())
    elif words.type != pa.string():
        words = words.cast(pa.string())
    once = words.dictionary_encode()  # of a dictionary that has a text twice, or null
    if len(once.dictionary) == len(words):
        return codes, words
    again = pc.fill_null(once.indices, -1).to_numpy()
    return np.append(again, np.int32(-1))[codes], once.dictionary


def texts_in(columns: Iterable[pa.ChunkedArray], most: int) -> list[str] | None:
    """The different texts of a column that comes piece by piece, in order.

    None where there are more than `most`; the rest is then not asked for.
    """
    found: set[str] = set()
    for column in columns:
        for chunk in column.chunks:
            found.update(encoded_text(chunk)[1].drop_null().to_pylist())
        if len(found) > most:
            return None
    return sorted(found)
