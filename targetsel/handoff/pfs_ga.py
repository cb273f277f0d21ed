"""PFS Galactic Archaeology targeting (ga_targeting): a Feather or CSV target list.

Subaru-PFS-GA/ga_targeting (5a94d9c) ``docs/03_targetlists.md``. Total fluxes [nJy] are in columns
``<filter>_flux`` and ``<filter>_flux_err``, which the configuration's ``photometry: filters:``
names, with PFS's names of the filters. ``proposalid``, ``catid`` and ``obcode`` are best given in
that configuration, and are written only where they are set here.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv, feather

from targetsel.handoff.pfs import NAMES, NAMES_ARE, total_fluxes
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.tables.files import written_beside
from targetsel.tables.parquet import described


def write(targets: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the list as Feather, or as CSV where `path` ends in ``.csv``."""
    columns = {
        described("targetid", pa.int64()): targets.id,
        described("RA", pa.float64(), "deg"): targets.ra,
        described("Dec", pa.float64(), "deg"): targets.dec,
        described("epoch", pa.float64(), "yr"): targets.epoch,
        described("pmra", pa.float64(), "mas/yr"): targets.pmra,
        described("pmdec", pa.float64(), "mas/yr"): targets.pmdec,
        described("parallax", pa.float64(), "mas"): targets.number("parallax"),
        described("priority", pa.int64()): targets.priority,
        described("exp_time", pa.float64(), "s"): settings.fills(
            "exptime", targets.exptime, targets.program
        ),
    }
    columns |= _written_if_set(targets, settings)
    for name, (flux, error) in total_fluxes(targets).items():
        columns[described(f"{name}_flux", pa.float64(), "nJy")] = flux
        columns[described(f"{name}_flux_err", pa.float64(), "nJy")] = error
    arrays = [pa.array(v, field.type, from_pandas=True) for field, v in columns.items()]
    table = pa.table(arrays, schema=pa.schema(list(columns)))
    with written_beside(path) as beside:
        if path.suffix == ".csv":
            csv.write_csv(table, beside, csv.WriteOptions(quoting_style="needed"))
        else:
            feather.write_feather(table, str(beside), compression="uncompressed")
    return [path]


def read(path: Path) -> ReadBack:
    """The list by pandas, as the targeting tools read it."""
    rows = pd.read_csv(path) if path.suffix == ".csv" else pd.read_feather(path)
    ids, ra, dec, wanted = (rows[n].to_numpy() for n in ("targetid", "RA", "Dec", "priority"))
    return ReadBack(ids, ra, dec, wanted, f"pandas {version('pandas')}")


def _written_if_set(targets: Prepared, settings: Settings) -> dict[pa.Field, np.ndarray]:
    columns = {}
    if settings.has("proposalid"):
        columns[described("proposalid", pa.string())] = settings.by_program(
            "proposalid", targets.program
        )
    if settings.has("catid"):
        catid = np.full(len(targets), settings.integer("catid", largest=2**31 - 1))
        columns[described("catid", pa.int32())] = catid
    if settings.has("obcode"):
        prefix = settings.text("obcode")
        codes = [f"{prefix}{name}" for name in targets.name.tolist()]
        if not targets.tool.allows(codes[0]):
            raise settings.error(f"'obcode' is '{prefix}'; expected {NAMES_ARE}")
        columns[described("obcode", pa.string())] = np.array(codes, dtype=object)
    return columns


TOOL = Tool(
    name="pfs-ga",
    title="Subaru PFS Galactic Archaeology targeting (ga_targeting)",
    source="Subaru-PFS-GA/ga_targeting 5a94d9c, docs/03_targetlists.md",
    suffix=".feather",
    write=write,
    read=read,
    priorities=PriorityScale(best=0, worst=9),
    epoch=2016.0,
    names=NAMES,
    names_are=NAMES_ARE,
    settings={
        "exptime": "exposure time [s], for all or by class, where the list has none",
        "proposalid": "proposal id; left out by default",
        "catid": "catalog id given by the observatory; left out by default",
        "obcode": "what obcode begins with, before the source's id; left out by default",
    },
)
