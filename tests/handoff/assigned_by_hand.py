"""Files as DESI fiberassign and PFS write them, for lists made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

SCIENCE, STANDARD, SKY = 1, 2, 4  # FA_TYPE
Place = tuple[float, float]


def write_fba(
    path: Path,
    assigned: Mapping[int, Place],
    reached: Sequence[int],
    fa_type: Mapping[int, int] | None = None,
    merged: bool = False,
    tile: int | None = None,
    status: int = 0,
) -> Path:
    """An ``fba`` file of one tile; two more fibers are unassigned and on sky.

    Parameters
    ----------
    assigned : mapping
        TARGETID to (ra, dec) of the targets with a fiber.
    reached : sequence of int
        TARGETIDs that some fiber reaches.
    fa_type : mapping, optional
        FA_TYPE of those that are not science targets.
    merged : bool
        With the table names of ``fiberassign-*.fits``.
    tile : int, optional
        TILEID in the primary header.
    status : int
        FIBERSTATUS of all.
    """
    ids = [*assigned, -(1001 * 10000 + 7), 616088561849761868]
    places = [*assigned.values(), (10.0, 10.0), (10.1, 10.1)]
    types = [(fa_type or {}).get(each, SCIENCE) for each in assigned] + [0, SKY]
    n = len(ids)
    fassign = _table(
        "FIBERASSIGN" if merged else "FASSIGN",
        FIBER=np.arange(n, dtype=np.int32),
        TARGETID=np.array(ids, dtype=np.int64),
        LOCATION=np.arange(n, dtype=np.int32),
        FIBERSTATUS=np.full(n, status, dtype=np.int32),
        TARGET_RA=np.array([place[0] for place in places]),
        TARGET_DEC=np.array([place[1] for place in places]),
        FA_TARGET=np.full(n, 2**62, dtype=np.int64),
        FA_TYPE=np.array(types, dtype=np.uint8),
    )
    favail = _table(
        "POTENTIAL_ASSIGNMENTS" if merged else "FAVAIL",
        LOCATION=np.arange(len(reached), dtype=np.int32),
        FIBER=np.arange(len(reached), dtype=np.int32),
        TARGETID=np.array(reached, dtype=np.int64),
    )
    primary = fits.PrimaryHDU()
    if tile is not None:
        primary.header["TILEID"] = tile
    fits.HDUList([primary, fassign, favail]).writeto(path)
    return path


def write_design(
    path: Path,
    rows: Sequence[tuple[int, Place, int, int]],
    cat_id: Sequence[int] | None = None,
    **others: Sequence[str],
) -> Path:
    """A ``pfsDesign`` file; each row is (objId, (ra, dec), targetType, fiberStatus).

    `others` are further columns of text, such as obCode and proposalId.
    """
    n = len(rows)
    design = _table(
        "DESIGN",
        fiberId=np.arange(1, n + 1, dtype=np.int32),
        catId=np.array([10092] * n if cat_id is None else cat_id, dtype=np.int32),
        objId=np.array([row[0] for row in rows], dtype=np.int64),
        ra=np.array([row[1][0] for row in rows]),
        dec=np.array([row[1][1] for row in rows]),
        targetType=np.array([row[2] for row in rows], dtype=np.int32),
        fiberStatus=np.array([row[3] for row in rows], dtype=np.int32),
        **{name: np.array(values, dtype="S") for name, values in others.items()},
    )
    fluxes = _table("PHOTOMETRY", fiberId=np.arange(1, n + 1, dtype=np.int32))
    fits.HDUList([fits.PrimaryHDU(), design, fluxes]).writeto(path)
    return path


def _table(name: str, **columns: np.ndarray) -> fits.BinTableHDU:
    rows = np.zeros(
        len(next(iter(columns.values()))), dtype=[(k, v.dtype) for k, v in columns.items()]
    )
    for key, values in columns.items():
        rows[key] = values
    return fits.BinTableHDU(rows, name=name)
