"""Target lists small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import described

BITS = {"STRONG": 1, "WEAK": 0}


def target_list(n: int = 4, **changed) -> TargetList:
    """The targets 101, 102, ...; STRONG (priority 3400) and WEAK (3200) take turns.

    RA goes through 0 in steps of 0.25 deg from 359.75, dec is -1.5, 0.5, 2.5, ... Fluxes are 1000,
    2000, ... nJy in g and r of sdss, i.e. 23.9 mag for the first. There are no proper motions, as
    for galaxies. Keywords replace a column: by values, or by (values, unit) for a new one; None
    takes it out.
    """
    number = np.arange(n)
    strong = number % 2 == 0
    flux = (1000.0 * (number + 1)).astype(np.float32)
    columns = {
        described("target_id", pa.int64(), nullable=False): 101 + number,
        described("source_id", pa.int64(), nullable=False): 101 + number,
        described("source_catalog", pa.string()): ["by hand"] * n,
        described("_healpix_29", pa.int64(), nullable=False): number,
        described("ra", pa.float64(), "deg", nullable=False): (359.75 + 0.25 * number) % 360,
        described("dec", pa.float64(), "deg", nullable=False): -1.5 + 2.0 * (number % 40),
        described("ref_epoch", pa.float64(), "yr"): [None] * n,
        described("pmra", pa.float32(), "mas/yr"): [None] * n,
        described("pmdec", pa.float32(), "mas/yr"): [None] * n,
        described("parallax", pa.float32(), "mas"): [None] * n,
        described("priority", pa.int32(), nullable=False): np.where(strong, 3400, 3200),
        described("subpriority", pa.float64(), nullable=False): (number + 0.5) / n,
        described("program", pa.string(), nullable=False): np.where(strong, "STRONG", "WEAK"),
        described("target_bits", pa.int64(), nullable=False): np.where(strong, 3, 1),
        described("target_type", pa.string(), nullable=False): ["SCIENCE"] * n,
        described("obs_conditions", pa.int32()): [None] * n,
        described("n_obs", pa.int32()): [None] * n,
        described("exptime", pa.float32(), "s"): [None] * n,
        described("probability", pa.float32()): np.full(n, 0.75),
        described("flux_g_sdss", pa.float32(), "nJy"): flux,
        described("flux_r_sdss", pa.float32(), "nJy"): flux,
    }
    known = {field.name: field for field in columns}
    for name, values in changed.items():
        old = known.get(name)
        if old is not None:
            place = columns.pop(old)
            if values is not None and name == "source_id":
                old = old.with_type(pa.array(values).type)
            if values is not None:
                columns[old] = values
            del place
        elif values is not None:
            array = pa.array(values[0])
            columns[described(name, array.type, values[1])] = array
    arrays = [pa.array(values, field.type) for field, values in columns.items()]
    footer = {
        "format": "targetsel/targets/v1",
        "bits": BITS,
        "rules_name": "by-hand",
        "rules_sha256": "0" * 64,
        "seed": 0,
        "targetsel": "0",
        "priority_direction": "higher_is_better",
    }
    return TargetList(pa.table(arrays, schema=pa.schema(list(columns))), footer)


def wide_list(**changed) -> TargetList:
    """Four targets across RA 0; 103 moves by 1 arcsec/yr to the south-east, known at 2016.0."""
    moving = {
        "ref_epoch": [None, None, 2016.0, None],
        "pmra": [None, None, 800.0, None],
        "pmdec": [None, None, -600.0, None],
    }
    return target_list(**(moving | changed))


def moving_list() -> TargetList:
    """Four targets within 4 arcmin of (150, 2.2).

    102 moves by 1 arcsec/yr to the east, 103 by 1 arcsec/yr to the south, both since 2016.5, so
    that they are 10 arcsec away in 2026.5; 101 and 104 are galaxies without a known motion. 104
    lies a hair beside whole seconds and arcseconds.
    """
    return target_list(
        ra=[150.0, 150.01, 150.02, 149.9791666666],
        dec=[2.2, 2.21, 2.22, 2.1833333333],
        ref_epoch=[None, 2016.5, 2016.5, None],
        pmra=[None, 1000.0, 0.0, None],
        pmdec=[None, 0.0, -1000.0, None],
    )
