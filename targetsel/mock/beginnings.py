"""Files of the demonstration to try other commands on: rules, settings, spectra, images, fibers."""

from __future__ import annotations

from pathlib import Path
from string import Template

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from targetsel.handoff.export import TOOLS
from targetsel.handoff.settings import settings_example
from targetsel.handoff.simulation import INSTRUMENTS, simulate
from targetsel.imaging.store import CutoutStore
from targetsel.rules.rules import Rules
from targetsel.rules.starting import first_rules
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import unit_vectors
from targetsel.spectra.grid import wavelengths
from targetsel.tables.columns import matrix
from targetsel.tables.ids import matched
from targetsel.tables.parquet import SIMULATED, read_footer, write_table

N_MEASURED = 5
FIRST_RULES, FIELD_RULES = "my-first-rules.yaml", "one-field.yaml"
MEASURED, KNOWN = "measured-spectra.parquet", "known-spectra.parquet"
SETTINGS, IMAGES, FIBERS = "settings", "images", "fba-simulated.fits"
NORTHERNMOST = 39.0  # [deg], of a field that 4MOST can take
FIELD_RADIUS = 0.5  # [deg]
PIXEL = 15.0  # of the image that stands in for that of a mask [arcsec]
ONE_FIELD = Template("""\
# Every galaxy of one field, for tools that take the targets of a single field or mask:
#     targetsel select --rules one-field.yaml
schema: targetsel/rules/v1
name: one-field
description: Every galaxy in a circle on the sky.
footprint:
  include:
    - cone: {ra: $ra, dec: $dec, radius: 0.5 deg}
classes:
  GALAXY:
    description: Whatever its spectrum.
    priority: 1000
    where: rmag < 30 mag
""")


def write_beginnings(folder: Path) -> None:
    """Write files to try other commands on into the folder of the demonstration.

    `my-first-rules.yaml` and `one-field.yaml` are rules to begin with, `settings/` has a file for
    every tool that `export` knows. `known-spectra.parquet` has the truth of every other source, as
    if only those were observed; `measured-spectra.parquet` has the noisy spectra of the first of
    them, as they are observed, and `images/` their cutouts as FITS files. `fba-simulated.fits` has
    the fibers of one simulated pointing, as DESI's fiberassign writes them.
    """
    _write(folder / FIRST_RULES, first_rules(FIRST_RULES, folder / "catalog.scored.parquet"))
    known = pq.read_table(folder / "truth.parquet")
    known = known.take(np.arange(0, len(known), 2))
    write_table(known, folder / KNOWN, read_footer(folder / "truth.parquet"))
    spectra = folder / "spectra.parquet"
    measured = observed_spectra(spectra, folder / "catalog.parquet", known["source_id"])
    write_table(measured, folder / MEASURED, SIMULATED)
    write_images(folder, measured)
    targets = TargetList.read(folder / "quiescent.targets.parquet")
    ra, dec = densest_field(targets if len(targets) else measured)
    _write(folder / FIELD_RULES, ONE_FIELD.substitute(ra=f"{ra:.4f}", dec=f"{dec:.4f}"))
    rules = Rules.read(folder / FIELD_RULES)
    select(folder / "catalog.scored.parquet", rules, folder / "one-field.targets.parquet")
    write_settings(folder / SETTINGS, ra, dec)
    write_fibers(folder / FIBERS, targets, ra, dec)


def observed_spectra(spectra: Path, catalog: Path, ids: pa.ChunkedArray) -> pa.Table:
    """Noisy spectra of the first of these sources at their redshifts, shape (N_MEASURED,)."""
    chosen = ids[:N_MEASURED]
    rest = rows_of(pq.read_table(spectra, columns=["source_id", "flux", "ivar"]), chosen)
    sources = rows_of(pq.read_table(catalog), chosen)
    redshift = sources["redshift"].to_numpy()
    observed = wavelengths() * (1 + redshift[:, None])
    return pa.table(
        {
            "source_id": chosen,
            "ra": sources["ra"],
            "dec": sources["dec"],
            "redshift": redshift,
            "wavelength": list(observed),
            "flux": list(matrix(rest["flux"])),
            "ivar": list(matrix(rest["ivar"])),
        }
    )


def write_images(folder: Path, sources: pa.Table) -> None:
    """Write the cutouts of these sources as FITS cubes, `images/<id>.fits`."""
    (folder / IMAGES).mkdir(exist_ok=True)
    cutouts = CutoutStore.open(folder / "cutouts").read(sources["source_id"].to_numpy())
    places = zip(sources["ra"].to_pylist(), sources["dec"].to_pylist(), strict=True)
    for source_id, flux, place in zip(cutouts.source_id, cutouts.flux, places, strict=True):
        image = fits.PrimaryHDU(flux.astype(np.float32))
        image.header["BANDS"] = ("".join(cutouts.bands), "one plane each")
        image.header["BUNIT"] = "nanomaggy"
        image.header["IMAGES"] = ("simulated", "by targetsel demo")
        image.header.update(_grid(place, cutouts.pixel_scale, flux.shape[-1]))
        image.writeto(folder / IMAGES / f"{source_id}.fits", overwrite=True)


def densest_field(sources: TargetList | pa.Table) -> tuple[float, float]:
    """Position [deg] of the source with the most others around it, not too far in the north."""
    table = sources.table if isinstance(sources, TargetList) else sources
    ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
    toward = unit_vectors(ra, dec)
    others = (toward @ toward.T > np.cos(np.radians(FIELD_RADIUS))).sum(axis=1)
    best = int(np.where(dec < NORTHERNMOST, others, 0).argmax())
    return float(ra[best]), float(dec[best])


def write_settings(folder: Path, ra: float, dec: float) -> None:
    """Write a settings file for every tool, and stand-ins for files of users that two of them take.

    Parameters
    ----------
    ra, dec : float
        Center of the one field [deg].
    """
    folder.mkdir(exist_ok=True)
    for tool in TOOLS:
        _write(folder / f"{tool}.yaml", settings_example(tool, f"{ra:.4f}", f"{dec:.4f}"))
    width = int(7200 * (FIELD_RADIUS + 0.1) / PIXEL)
    image = fits.PrimaryHDU(np.zeros((width, width), np.uint8))
    image.header["INSTRUME"] = "GMOS-N"
    image.header["PIXSCALE"] = PIXEL
    image.header.update(_grid((ra, dec), PIXEL, width))
    image.writeto(folder / "gmmps-image.fits", overwrite=True)
    weave_template().writeto(folder / "weave-template.fits", overwrite=True)


def weave_template() -> fits.BinTableHDU:
    """An empty table with those columns of a WEAVE template that `export` fills."""
    columns = [
        fits.Column(name, form, unit=unit)
        for name, form, unit in (
            ("CNAME", "20A", None),
            ("TARGSRVY", "15A", None),
            ("TARGPROG", "40A", None),
            ("TARGID", "30A", None),
            ("TARGPRIO", "E", None),
            ("TARGUSE", "1A", None),
            ("PROGTEMP", "8A", None),
            ("OBSTEMP", "5A", None),
            ("GAIA_RA", "D", "deg"),
            ("GAIA_DEC", "D", "deg"),
            ("GAIA_EPOCH", "E", "yr"),
            ("GAIA_PMRA", "E", "mas/yr"),
            ("GAIA_PMDEC", "E", "mas/yr"),
            ("MAG_G", "E", "mag"),
            ("MAG_R", "E", "mag"),
            ("MAG_I", "E", "mag"),
        )
    ]
    return fits.BinTableHDU.from_columns(columns, nrows=0, name="TEMPLATE")


def write_fibers(path: Path, targets: TargetList, ra: float, dec: float) -> None:
    """Write the targets that a simulated pointing of DESI observes, in the tables of fiberassign.

    Parameters
    ----------
    ra, dec : float
        The pointing [deg].
    """
    forecast = simulate(targets, INSTRUMENTS["desi"], ra, dec)
    taken = targets.table.take(np.flatnonzero(forecast.assigned))
    in_field = targets.table["target_id"].to_numpy()[forecast.inside]
    fibers = forecast.fiber[forecast.assigned].astype(np.int32)
    n = len(fibers)
    assigned = {
        "FIBER": fibers,
        "TARGETID": taken["target_id"].to_numpy(),
        "LOCATION": fibers,
        "FIBERSTATUS": np.zeros(n, np.int32),
        "TARGET_RA": taken["ra"].to_numpy(),
        "TARGET_DEC": taken["dec"].to_numpy(),
        "FA_TYPE": np.ones(n, np.uint8),
    }
    nearby = np.zeros(len(in_field), np.int32)
    available = {"LOCATION": nearby, "FIBER": nearby, "TARGETID": in_field}
    primary = fits.PrimaryHDU()
    primary.header["COMMENT"] = "Simulated by targetsel demo; no assignment of DESI."
    tables = [_table("FASSIGN", assigned), _table("FAVAIL", available)]
    fits.HDUList([primary, *tables]).writeto(path, overwrite=True)


def rows_of(table: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    """The rows of a table with these ids, in their order."""
    return table.take(matched(ids.to_numpy(), table["source_id"].to_numpy()))


def _grid(center: tuple[float, float], pixel: float, width: int) -> fits.Header:
    """The cards that place a square image on the sky; `center` in deg, `pixel` in arcsec."""
    cards: dict[str, str | float] = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    for axis, value in enumerate(center, start=1):
        cards |= {f"CRVAL{axis}": value, f"CRPIX{axis}": (width + 1) / 2}
        cards |= {f"CDELT{axis}": pixel / 3600 * (-1 if axis == 1 else 1), f"CUNIT{axis}": "deg"}
    return fits.Header(cards)


def _table(name: str, columns: dict[str, np.ndarray]) -> fits.BinTableHDU:
    dtype = [(key, values.dtype) for key, values in columns.items()]
    rows = np.zeros(len(columns["TARGETID"]), dtype)
    for key, values in columns.items():
        rows[key] = values
    return fits.BinTableHDU(rows, name=name)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
