"""Subaru PFS: target uploader, netflow and Galactic Archaeology targeting.

Names and filters: Subaru-PFS/spt_target_uploader (8507313, v3.3.6) ``docs/docs/inputs.md`` and
``validation.md``.

The uploader takes the CSV list that is validated and submitted on the web: positions at epoch 2000,
total fluxes in nJy, priority 0 is the highest. Proper motions are taken to include cos(dec).

netflow takes ECSV: ``readScientificFromFile`` in Subaru-PFS/ets_fiberalloc (2248bf8)
``ets_fiber_assigner/netflow.py``. It takes every target to stand still, so that positions are those
at the epoch of the observation.
Priorities are 1 (highest) to 15; the class of priority n is ``<prefix>_P<n>``, whose costs are set
where netflow is called.

ga_targeting takes Feather or CSV: Subaru-PFS-GA/ga_targeting (5a94d9c)
``docs/03_targetlists.md``. Total fluxes [nJy] are in columns ``<filter>_flux`` and
``<filter>_flux_err``, which the configuration's ``photometry: filters:`` names, with PFS's names of
the filters. ``proposalid``, ``catid`` and ``obcode`` are best given in that configuration, and are
written only where they are set here.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from astropy import units
from astropy.table import Table
from pyarrow import feather
from pydantic import Field

from targetsel.documents.models import Integer
from targetsel.errors import HandoffError
from targetsel.handoff.files import write_ecsv, write_text
from targetsel.handoff.settings import (
    ByClass,
    EpochSettings,
    NumberByClass,
    Text,
    TextByClass,
    ToolSettings,
    UnlessListed,
)
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, ToolTargets
from targetsel.tables.files import written_beside
from targetsel.tables.parquet import described

ARMS = {"L": ("b", "r", "n"), "M": ("b", "m", "n")}
DEFAULT_PARALLAX = 1e-7  # mas
NAMES = r"[A-Za-z0-9_+.-]+"
NAMES_ARE = "letters, digits and _ - + . only"

# Filters by category, in the order of preference; a target may have one of each category.
CATEGORIES = (
    ("g_hsc", "g_ps1", "g_sdss", "bp_gaia"),
    ("r_old_hsc", "r2_hsc", "r_ps1", "r_sdss", "g_gaia"),
    ("i_old_hsc", "i2_hsc", "i_ps1", "i_sdss", "rp_gaia"),
    ("z_hsc", "z_ps1", "z_sdss"),
    ("y_hsc", "y_ps1"),
)
BANDS = tuple(name for names in CATEGORIES for name in names)


class PfsSettings(ToolSettings):
    """Settings that all of PFS's tools have."""

    exptime: Annotated[NumberByClass | None, UnlessListed("exptime")] = None
    """total exposure time [s], for all or by class"""

    def exposure_times(self, targets: ToolTable) -> np.ndarray:
        """Total exposure time of each target [s], the list's own or else the setting's, (M,).

        Raises
        ------
        HandoffError
            If a time is neither in the list nor set, or is not above zero.
        """
        times = targets.number("exptime")
        if np.isnan(times).any():
            given = self.by_class("exptime", targets.program).astype(float)
            times = np.where(np.isnan(times), given, times)
        if not (times > 0).all():
            raise self.error(
                "exptime", f"'exptime' is {times.min():g} for some targets; expected above zero"
            )
        return times


class UploaderSettings(PfsSettings):
    resolution: Annotated[dict[str, Literal["L", "M"]], ByClass()]
    """resolution, L or M, for all or by class"""
    reference_arm: TextByClass
    """arm that the exposure time is for: b, r, n (L) or b, m, n (M)"""


class NetflowSettings(PfsSettings, EpochSettings):
    qa_reference_arm: Annotated[dict[str, Literal["b", "r", "m", "n"]], ByClass()] | None = None
    """arm b, r, m or n, for all or by class; left out by default"""


class GaSettings(PfsSettings):
    proposalid: TextByClass | None = None
    """proposal id; left out by default"""
    catid: Integer | None = Field(default=None, ge=0, le=2**31 - 1)
    """catalog id given by the observatory; left out by default"""
    obcode: Text | None = None
    """what obcode begins with, before the source's id; left out by default, and then assignments
    cannot be brought back, as ga_targeting makes its own ids"""


def total_fluxes(targets: ToolTable) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Total flux and its error [nJy] by PFS's name of the filter, each shape (M,).

    In each category a target keeps the flux of the first filter that it has one in.

    Raises
    ------
    HandoffError
        If the list has none of PFS's filters, the name of one is ambiguous, or any target has no
        flux at all.
    """
    tool, photometry = targets.tool.name, targets.photometry
    for each in photometry.bands():
        if each.system == "hsc" and each.name in ("r", "i"):
            column = photometry.columns["flux", each, False].name
            raise HandoffError(
                f"the list's column {column} is ambiguous for '{tool}': HSC has two filters "
                f"{each.name}. Say which it is: --brightness {each.name}2_hsc={column}, or "
                f"{each.name}_old_hsc={column} for images of before 2016."
            )
    present = targets.bands()
    fluxes = {}
    seen_in_any = np.zeros(len(targets), dtype=bool)
    for names in CATEGORIES:
        seen = np.zeros(len(targets), dtype=bool)
        for band in (each for each in present if str(each) in names):
            flux, error = photometry.flux(band), photometry.flux_error(band)
            usable = np.isfinite(flux) & ~seen
            fluxes[str(band)] = np.where(usable, flux, np.nan), np.where(usable, error, np.nan)
            seen |= usable
        seen_in_any |= seen
    if not seen_in_any.all():
        first = targets.name[~seen_in_any][0]
        raise HandoffError(
            f"{(~seen_in_any).sum()} of {len(targets)} targets, the first is {first}, have no flux "
            f"in any filter that '{tool}' knows; it asks for one at least. Leave them out in the "
            "rules (`flux_... is not missing`)."
        )
    return fluxes


def write_uploader(targets: ToolTable, settings: UploaderSettings, path: Path) -> list[Path]:
    """Write the list as CSV."""
    resolution = settings.by_class("resolution", targets.program)
    arm = settings.by_class("reference_arm", targets.program)
    _check_arms(resolution, arm, settings)
    columns: dict[str, np.ndarray] = {
        "ob_code": targets.name,
        "obj_id": targets.id,
        "ra": targets.ra,
        "dec": targets.dec,
        "exptime": settings.exposure_times(targets),
        "priority": targets.priority,
        "resolution": resolution,
        "reference_arm": arm,
        "pmra": np.nan_to_num(targets.pmra),
        "pmdec": np.nan_to_num(targets.pmdec),
        "parallax": targets.filled("parallax", DEFAULT_PARALLAX),
    }
    for name, (flux, error) in total_fluxes(targets).items():
        columns[name] = flux
        if np.isfinite(error).any():
            columns[f"{name}_error"] = error
    write_text(path, pd.DataFrame(columns).to_csv(index=False))
    return [path]


def read_uploader(path: Path) -> ToolTargets:
    """The list as the uploader's ``load_input`` reads it: pandas, ids by converters."""
    rows = pd.read_csv(
        path,
        encoding="utf8",
        comment="#",
        converters={"ob_code": str, "obj_id": int, "priority": int, "resolution": str},
    )
    return ToolTargets(
        rows["obj_id"].to_numpy(),
        rows["ra"].to_numpy(),
        rows["dec"].to_numpy(),
        rows["priority"].to_numpy(),
        f"pandas {version('pandas')}",
    )


def _check_arms(resolution: np.ndarray, arm: np.ndarray, settings: UploaderSettings) -> None:
    for wanted, used in sorted(set(zip(resolution.tolist(), arm.tolist(), strict=True))):
        if used not in ARMS[wanted]:
            raise settings.error(
                "reference_arm",
                f"'reference_arm' is '{used}'; with resolution {wanted} expected one of "
                f"{', '.join(ARMS[wanted])}",
            )


def write_netflow(targets: ToolTable, settings: NetflowSettings, path: Path) -> list[Path]:
    """Write the science list as ECSV."""
    table = Table(
        {
            "ID": targets.id,
            "R.A.": targets.ra * units.deg,
            "Dec.": targets.dec * units.deg,
            "Exposure Time": settings.exposure_times(targets) * units.s,
            "Priority": targets.priority,
        }
    )
    if settings.qa_reference_arm is not None:
        arms = settings.by_class("qa_reference_arm", targets.program)
        table["qa_reference_arm"] = arms.astype(str)
    write_ecsv(path, table)
    return [path]


def read_netflow(path: Path) -> ToolTargets:
    """The list by the call that netflow makes."""
    table = Table.read(path, format="ascii.ecsv")
    ids, ra, dec, wanted = (np.asarray(table[n]) for n in ("ID", "R.A.", "Dec.", "Priority"))
    return ToolTargets(ids, ra, dec, wanted, f"astropy {version('astropy')}")


def write_ga(targets: ToolTable, settings: GaSettings, path: Path) -> list[Path]:
    """Write the list as Feather, or as CSV where `path` ends in ``.csv``."""
    columns = {
        described("targetid", pa.int64()): targets.id,
        described("RA", pa.float64(), "deg"): targets.ra,
        described("Dec", pa.float64(), "deg"): targets.dec,
        described("epoch", pa.float64(), "yr"): targets.epoch,
        described("pmra", pa.float64(), "mas/yr"): targets.pmra,
        described("pmdec", pa.float64(), "mas/yr"): targets.pmdec,
        # Without a parallax it would take the proper motion for zero.
        described("parallax", pa.float64(), "mas"): targets.filled("parallax", DEFAULT_PARALLAX),
        described("priority", pa.int64()): targets.priority,
        described("exp_time", pa.float64(), "s"): settings.exposure_times(targets),
    }
    columns |= _written_if_set(targets, settings)
    for name, (flux, error) in total_fluxes(targets).items():
        columns[described(f"{name}_flux", pa.float64(), "nJy")] = flux
        columns[described(f"{name}_flux_err", pa.float64(), "nJy")] = error
    arrays = [pa.array(v, field.type, from_pandas=True) for field, v in columns.items()]
    table = pa.table(arrays, schema=pa.schema(list(columns)))
    with written_beside(path) as beside:
        if path.suffix.lower() == ".csv":
            pyarrow.csv.write_csv(table, beside, pyarrow.csv.WriteOptions(quoting_style="needed"))
        else:
            feather.write_feather(table, str(beside), compression="uncompressed")
    return [path]


def read_ga(path: Path) -> ToolTargets:
    """The list by pandas, as the targeting tools read it."""
    rows = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_feather(path)
    ids, ra, dec, wanted = (rows[n].to_numpy() for n in ("targetid", "RA", "Dec", "priority"))
    return ToolTargets(ids, ra, dec, wanted, f"pandas {version('pandas')}")


def obcodes(targets: ToolTable, settings: GaSettings) -> np.ndarray | None:
    """The obcode of each target, shape (M,) of str; None where the setting does not give any."""
    if settings.obcode is None:
        return None
    codes = [f"{settings.obcode}{name}" for name in targets.name.tolist()]
    if not targets.tool.allows(codes[0]):
        raise settings.error("obcode", f"'obcode' is '{settings.obcode}'; expected {NAMES_ARE}")
    return np.array(codes, dtype=object)


def _written_if_set(targets: ToolTable, settings: GaSettings) -> dict[pa.Field, np.ndarray]:
    columns = {}
    if settings.proposalid is not None:
        columns[described("proposalid", pa.string())] = settings.by_class(
            "proposalid", targets.program
        )
    if settings.catid is not None:
        catid = np.full(len(targets), settings.catid)
        columns[described("catid", pa.int32())] = catid
    codes = obcodes(targets, settings)
    if codes is not None:
        columns[described("obcode", pa.string())] = codes
    return columns


TOOLS = (
    Tool(
        name="pfs-uploader",
        title="Subaru PFS target uploader",
        source="Subaru-PFS/spt_target_uploader 8507313 (v3.3.6), docs/docs/inputs.md",
        tried="The uploader's own reading and checks took the file; its forecast of visibility "
        "was not run.",
        suffix=".csv",
        write=write_uploader,
        read=read_uploader,
        priorities=PriorityScale(best=0, worst=9),
        epoch=2000.0,
        names=NAMES,
        names_are=NAMES_ARE,
        settings=UploaderSettings,
        bands=BANDS,
    ),
    Tool(
        name="pfs-netflow",
        title="Subaru PFS netflow (ets_fiberalloc)",
        source="Subaru-PFS/ets_fiberalloc 2248bf8, ets_fiber_assigner/netflow.py",
        tried="ets_fiberalloc read the file and assigned with the solver CBC; it takes no "
        "proper motions, so positions are those of the epoch in the settings.",
        suffix=".ecsv",
        write=write_netflow,
        read=read_netflow,
        priorities=PriorityScale(best=1, worst=15),
        settings=NetflowSettings,
        writes_fluxes=False,
    ),
    Tool(
        name="pfs-ga",
        title="Subaru PFS Galactic Archaeology targeting (ga_targeting)",
        source="Subaru-PFS-GA/ga_targeting 5a94d9c, docs/03_targetlists.md",
        tried="ga_targeting's own reader took the file; its assigner needs a commercial solver "
        "and was not run.",
        suffix=".feather",
        other_suffixes=(".csv",),
        write=write_ga,
        read=read_ga,
        codes=obcodes,
        priorities=PriorityScale(best=0, worst=9),
        epoch=2016.0,
        names=NAMES,
        names_are=NAMES_ARE,
        settings=GaSettings,
        bands=BANDS,
    ),
)
