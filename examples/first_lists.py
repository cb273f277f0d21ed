"""From a survey's FITS catalog and FITS images to lists for DESI, PFS, DEIMOS and a spreadsheet.

targetsel demo demo                       # simulated images
python examples/first_lists.py demo job   # makes the FITS files in job/, then does the job there

The catalog is as VizieR gives one: `objID RAJ2000 DEJ2000`, magnitudes with errors, a type, and
masked entries. `COMMANDS` does the job in a shell, `lists` in Python, with the same targets.
"""

import shlex
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table

import targetsel as ts

PHOTOMETRY = """\
schema: targetsel/photometry/v1
brightness:
  g_sdss: gmag
  r_sdss: {column: rmag, error: e_rmag}
  i_sdss: imag
"""
RULES = """\
schema: targetsel/rules/v1
name: emitters
classes:
  EMITTER:
    priority: 3000
    where:
      - type != 'PSF'
      - rmag < 17.5 mag
      - P(ew_halpha > 10 Angstrom) >= 0.5
    rank: P(ew_halpha > 10 Angstrom)
"""
FILES = {
    "catalog.photometry.yaml": PHOTOMETRY,
    "emitters.yaml": RULES,
    "desi.yaml": "epoch: 2027.0\nobsconditions: BRIGHT\n",
    "pfs.yaml": "exptime: 1800\nresolution: L\nreference_arm: r\n",
    "deimos.yaml": "epoch: 2027.0\nfilter: r_sdss\n",
}
COMMANDS = """\
targetsel cutouts pack images --catalog catalog.fits -o cutouts
targetsel score catalog.fits --cutouts cutouts -o scored.fits
targetsel rules columns scored.fits
targetsel rules lint emitters.yaml --catalog scored.fits
targetsel funnel scored.fits --rules emitters.yaml
targetsel select scored.fits --rules emitters.yaml -o targets.fits
targetsel export targets.fits --for desi --config desi.yaml -o desi.fits
targetsel export targets.fits --for pfs-uploader --config pfs.yaml -o pfs.csv
targetsel export targets.fits --for deimos --config deimos.yaml -o deimos.txt
targetsel export targets.fits --for table --columns target_id,ra,dec,rmag -o list.csv
"""


def lists(folder: Path) -> ts.TargetList:
    """The same lists in Python, and the targets that they hold."""
    catalog = folder / "catalog.fits"  # or a table in memory
    ts.pack(folder / "images", catalog, folder / "cutouts")
    scored = ts.score(catalog, folder / "cutouts")
    targets = ts.select(scored, folder / "emitters.yaml")
    ts.export(targets, "desi", folder / "desi.fits", config=folder / "desi.yaml")
    ts.export(targets, "pfs-uploader", folder / "pfs.csv", config=folder / "pfs.yaml")
    ts.export(targets, "deimos", folder / "deimos.txt", config=folder / "deimos.yaml")
    targets.to_pandas()[["target_id", "ra", "dec", "rmag"]].to_csv(folder / "list.csv", index=False)
    return targets


def make_files(demonstration: Path, folder: Path) -> None:
    """Write the survey's files, and rules and settings for them."""
    make_survey(demonstration, folder)
    for name, text in FILES.items():
        (folder / name).write_text(text)


def make_survey(demonstration: Path, folder: Path, n: int | None = None) -> None:
    """Write a survey's catalog and images of the demonstration's first `n` sources."""
    sources = ts.Catalog.read(demonstration / "catalog.parquet")[:n]
    table = sources.to_astropy()
    flux = {band: np.array(table[f"flux_{band}_sdss"]) for band in "gri"}
    error = np.ma.masked_array(np.full(len(table), 0.02), mask=np.arange(len(table)) % 5 == 0)
    survey = Table(
        {
            "objID": table["source_id"].astype(">i8"),
            "RAJ2000": table["ra"].astype(">f8"),
            "DEJ2000": table["dec"].astype(">f8"),
            **{f"{band}mag": (31.4 - 2.5 * np.log10(flux[band])).astype(">f4") for band in flux},
            "e_rmag": MaskedColumn(error, unit="mag"),
            "type": np.where(np.arange(len(table)) % 7 == 3, "PSF", "SER"),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    survey.write(folder / "catalog.fits", overwrite=True)
    write_images(sources, demonstration, folder / "images")


def write_images(sources: ts.Catalog, demonstration: Path, folder: Path) -> None:
    """Write a FITS image of each source and band [nanomaggy], north up."""
    folder.mkdir(exist_ok=True)
    cutouts = ts.cut_out(sources, ts.CutoutStore.open(demonstration / "cutouts"))
    scale = cutouts.pixel_scale / 3600  # [deg]
    for name, images in zip(sources.source_id, cutouts.flux, strict=True):
        for band, image in zip(cutouts.bands, images, strict=True):
            header = fits.Header({"BUNIT": "nanomaggy"})
            header["CDELT1"], header["CDELT2"] = -scale, scale
            header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
            path = folder / f"{name}.{band}.fits"
            fits.writeto(path, image.astype(np.float32), header, overwrite=True)


if __name__ == "__main__":
    make_files(Path(sys.argv[1]), Path(sys.argv[2]))
    print(*(shlex.join(line) for line in map(shlex.split, COMMANDS.splitlines())), sep="\n")
    print(lists(Path(sys.argv[2])))
