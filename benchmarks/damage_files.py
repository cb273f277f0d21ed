"""Good files of every kind that targetsel reads, for `damage.py`, and the calls that read them.

A maker takes the folder of `make_base`, in which a small mock sky has been scored and selected, and
the folder to write to; it gives the paths of the files that are to be damaged. A reader takes the
latter folder.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the files of tests

from targetsel.cli import Commands
from targetsel.errors import TargetselError
from targetsel.redshifts.qp_files import write_qp
from targetsel.tables.files import one_command

N_SOURCES = 60
RULES = """schema: targetsel/rules/v1
name: bright
description: Targets of a test.
seed: 3
define:
  strong: ew_halpha > 10 Angstrom
footprint:
  include: {cone: {ra: 180 deg, dec: 0 deg, radius: 180 deg}}
exclude:
  - {file: other.parquet, column: source_id}
classes:
  BRIGHT: {bit: 0, priority: 100, where: rmag < 30 mag}
  STRONG: {bit: 1, priority: 90, where: [P(strong) > 0.1, rmag < 20 mag], limit: {total: 5}}
"""
LINES = """schema: targetsel/lines/v1
lines:
- {name: ew_mine, kind: emission, medium: vacuum, line: [3716.3, 3738.3], blue: [3696.3, 3716.3],
   red: [3738.3, 3758.3], profile: [[3727.09, 0.42], [3729.88, 0.58]], source: by hand,
   about: a width}
- {name: twice, kind: formula, formula: 2 * ew_mine, unit: Angstrom, about: twice that}
"""
EXCLUDING = """schema: targetsel/rules/v1
name: bright
%s
classes:
  BRIGHT: {bit: 0, priority: 100, where: rmag < 30 mag}
"""


def command(*words: str) -> Callable[[Path], None]:
    """A reader that runs a command of targetsel in the folder."""

    def read(folder: Path) -> None:
        with contextlib.chdir(folder), one_command():
            _made(words[0]).main(list(words[1:]), standalone_mode=False)

    return read


@cache
def _made(name: str) -> Any:
    """A command, made once: that takes longer than many a file does."""
    return Commands()[name]


def copied(*names: str, damaged: int = 1) -> Callable[[Path, Path], list[Path]]:
    """Files and folders of the base; the first `damaged` of them are to be damaged."""

    def make(base: Path, folder: Path) -> list[Path]:
        for name in names:
            source, target = base / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
        places = [folder / name for name in names[:damaged]]
        return [
            each
            for place in places
            for each in (sorted(place.rglob("*")) if place.is_dir() else [place])
            if each.is_file()
        ]

    return make


def text(name: str, content: str, *others: str) -> Callable[[Path, Path], list[Path]]:
    """One text file, and undamaged files of the base."""

    def make(base: Path, folder: Path) -> list[Path]:
        copied(*others, damaged=0)(base, folder)
        (folder / name).write_text(content)
        return [folder / name]

    return make


def make_base(base: Path) -> None:
    """Make a small sky, an ensemble, and one file of each kind that commands write."""
    from targetsel.mock.demonstration import write_demonstration
    from targetsel.spectra.grid import wavelengths
    from tests.conftest import tiny_ensemble

    write_demonstration(base, N_SOURCES)
    tiny_ensemble().write(base / "tiny")
    (base / "other.parquet").write_bytes((base / "catalog.parquet").read_bytes())
    (base / "bright.yaml").write_text(EXCLUDING % "")
    strong = (EXCLUDING % "").replace("rmag < 30 mag", "P(ew_halpha > 10 Angstrom) > 0.01")
    (base / "strong.yaml").write_text(strong)
    (base / "desi.yaml").write_text(DESI_SETTINGS)
    known = pq.read_table(base / "truth.parquet").drop_columns(["latent"])  # of another decoder
    pq.write_table(known, base / "known.parquet")
    flux = np.stack([each.as_py() for each in pq.read_table(base / "spectra.parquet")["flux_true"]])
    ids = pq.read_table(base / "catalog.parquet")["source_id"].to_numpy()
    np.savez(base / "spectra.npz", flux=flux, ivar=np.full_like(flux, 1e4), source_id=ids,
             wavelength=wavelengths(), redshift=np.zeros(len(ids)))  # fmt: skip
    for words in (
        "score catalog.parquet --ensemble tiny --threads 1",
        "select --rules bright.yaml catalog.scored.parquet",
        "spectra encode spectra.npz --decoder tiny -o latents.parquet",
        "lines calibrate truth.parquet -o maps.json",
    ):
        try:
            command(*words.split())(base)
        except TargetselError as error:
            print(f"not made: targetsel {words}: {error}", file=sys.stderr)


def make_distributions(name: str) -> Callable[[Path, Path], list[Path]]:
    """A file of qp with redshifts of the scored sources, beside these."""

    def make(base: Path, folder: Path) -> list[Path]:
        shutil.copy(base / SCORED, folder / SCORED)
        ids = pq.read_table(base / SCORED, columns=["source_id"])["source_id"].to_numpy()
        levels = np.linspace(0.01, 0.99, 33)
        values = 0.2 + 0.1 * levels + np.linspace(0.0, 0.1, len(ids))[:, None]
        write_qp(folder / name, ids, levels, values)
        return sorted(each for each in folder.iterdir() if each.name != SCORED)

    return make


def make_catalog(suffix: str) -> Callable[[Path, Path], list[Path]]:
    def make(base: Path, folder: Path) -> list[Path]:
        from astropy.table import Table

        table = Table(pq.read_table(base / "catalog.parquet").to_pandas().to_dict("list"))
        for name in ("ra", "dec"):
            table[name].unit = "deg"
        formats = {".xml": "votable", ".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits"}
        table.write(folder / f"c{suffix}", format=formats[suffix])
        return [folder / f"c{suffix}"]

    return make


def read_catalog(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        from targetsel.sky.catalog import CatalogFile

        for _ in CatalogFile.open(folder / name).batches(64):
            pass

    return read


def make_hats(base: Path, folder: Path) -> list[Path]:
    """A HATS catalog: its properties, its list of pixels and their files."""
    from targetsel.sky.catalog import CatalogFile
    from targetsel.sky.partitions import partition_catalog

    made = partition_catalog(CatalogFile.open(base / "catalog.parquet"), folder / "sky", 8)
    leaves = [made.path_of(pixel) for pixel in made.pixels[:2]]
    return [made.root / "hats.properties", made.root / "partition_info.csv", *leaves]


def read_hats(folder: Path) -> None:
    from targetsel.sky.partitions import open_partition
    from targetsel.tables.hats import HatsCatalog

    made = HatsCatalog.open(folder / "sky")
    for pixel in made.pixels:
        open_partition(made, pixel, check=True)


def read_store(folder: Path) -> None:
    from targetsel.imaging.store import CutoutStore

    store = CutoutStore.open(folder / "cutouts")
    store.read(store.source_ids())


def make_nested(base: Path, folder: Path) -> list[Path]:
    """A catalog with images inside."""
    import targetsel as ts

    sources = ts.Catalog.read(base / "catalog.parquet")[:6]
    cutouts = ts.cut_out(sources, ts.CutoutStore.open(base / "cutouts")).crop(16)
    images = [
        [
            {"band": f"ps1-{band}", "flux": pixels.tolist(), "ivar": pixels.tolist(), "scale": 0.25}
            for band, pixels in zip(cutouts.bands, planes, strict=True)
        ]
        for planes in cutouts.flux
    ]
    path = folder / "nested.parquet"
    pq.write_table(sources.table.append_column("image", pa.array(images)), path)
    return [path]


def make_hdf5(base: Path, folder: Path) -> list[Path]:
    """Images in a file of HDF5, and their catalog."""
    import h5py

    import targetsel as ts

    shutil.copy(base / "catalog.parquet", folder)
    sources = ts.Catalog.read(base / "catalog.parquet")[:6]
    cutouts = ts.cut_out(sources, ts.CutoutStore.open(base / "cutouts")).crop(16)
    n, n_bands = cutouts.flux.shape[:2]
    path = folder / "images" / "healpix=12" / "001-of-001.hdf5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["object_id"] = np.array([str(each) for each in cutouts.source_id], dtype="S")
        file["ra"], file["dec"] = sources.ra, sources.dec
        file["image_array"] = file["image_ivar"] = cutouts.flux
        file["image_band"] = np.array([[f"ps1-{b}" for b in cutouts.bands]] * n, dtype="S")
        file["image_scale"] = np.full((n, n_bands), 0.25, np.float32)
    return [path]


def make_parts(base: Path, folder: Path) -> list[Path]:
    """A cutout store in partitions: its listing and two of its files."""
    import targetsel as ts

    (nested,) = make_nested(base, folder)
    ts.partition(nested, folder / "sky", rows=3)
    ts.pack(folder / "sky", folder / "sky", folder / "cutouts", zeropoint=22.5)
    shutil.rmtree(folder / "sky")
    nested.unlink()
    return [folder / "cutouts/store.json", *sorted(folder.rglob("Npix=*.parquet"))[:2]]


def make_images(base: Path, folder: Path) -> list[Path]:
    from astropy.io import fits

    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    ids = pq.read_table(base / "catalog.parquet")["source_id"].to_pylist()
    for each in ids[:2]:
        header = fits.Header({"MAGZERO": 22.5, "BUNIT": "nanomaggy", "CDELT1": -0.25 / 3600,
                              "CDELT2": 0.25 / 3600, "CRPIX1": 16.5, "CRPIX2": 16.5,
                              "CRVAL1": 10.0, "CRVAL2": 1.0, "CTYPE1": "RA---TAN",
                              "CTYPE2": "DEC--TAN", "BANDS": "gr"})  # fmt: skip
        data = rng.normal(size=(2, 32, 32)).astype(np.float32)
        fits.PrimaryHDU(data, header).writeto(folder / "images" / f"{each}.fits")
    shutil.copy(base / "catalog.parquet", folder)
    return sorted((folder / "images").iterdir())


def make_arrays(base: Path, folder: Path) -> list[Path]:
    (folder / "images").mkdir()
    ids = pq.read_table(base / "catalog.parquet")["source_id"].to_pylist()
    for each in ids[:2]:
        np.save(
            folder / "images" / f"{each}.npy",
            np.random.default_rng(each).normal(size=(2, 32, 32)).astype(np.float32),
        )
    shutil.copy(base / "catalog.parquet", folder)
    return sorted((folder / "images").iterdir())


PACK = ("cutouts", "pack", "images", "-o", "out/store", "--catalog", "catalog.parquet", "--bands",
        "gr")  # fmt: skip


def make_spectrum(base: Path, folder: Path) -> list[Path]:
    from astropy.io import fits
    from astropy.table import Table

    from targetsel.spectra.rest_frame import Basis

    loglam = np.arange(3.58, 3.9645, 1e-4)
    grid = 3.53 + 0.00039 * np.arange(1000) + np.log10(1.1)
    flux = 300 * np.interp(loglam, grid, Basis.shipped().mean)
    primary = fits.PrimaryHDU()
    primary.header["VACUUM"] = True
    primary.header["BUNIT"] = "1E-17 erg/cm^2/s/Ang"
    coadd = fits.BinTableHDU(
        Table({"flux": flux, "loglam": loglam, "ivar": np.full_like(flux, 9)}), name="COADD"
    )
    redshift = fits.BinTableHDU(Table({"Z": [np.float32(0.1)]}), name="SPECOBJ")
    fits.HDUList([primary, coadd, redshift]).writeto(folder / "s.fits")
    return [folder / "s.fits"]


def make_spectra(suffix: str) -> Callable[[Path, Path], list[Path]]:
    def make(base: Path, folder: Path) -> list[Path]:
        wavelength = np.linspace(3900.0, 8800.0, 600)
        flux = np.exp(-(((wavelength - 6565) / 10) ** 2)) + 1
        path = folder / f"s{suffix}"
        if suffix == ".npz":
            np.savez(path, wavelength=wavelength, flux=np.stack([flux, flux]),
                     ivar=np.ones((2, 600)), redshift=np.array([0.1, 0.1]),
                     source_id=np.array([1, 2]))  # fmt: skip
        elif suffix == ".csv":
            rows = [f"{w:.3f},{f:.5f},1.0" for w, f in zip(wavelength, flux, strict=True)]
            path.write_text("\n".join(["wavelength,flux,ivar", *rows]) + "\n")
        else:
            table = {"source_id": [1, 2], "redshift": [0.1, 0.1], "flux": [flux, flux],
                     "wavelength": [wavelength] * 2, "ivar": [np.ones(600)] * 2}  # fmt: skip
            pq.write_table(pa.table(table), path)
        return [path]

    return make


def make_listed(suffix: str) -> Callable[[Path, Path], list[Path]]:
    """A list of ids, or of positions, to exclude."""

    def make(base: Path, folder: Path) -> list[Path]:
        from astropy.table import Table

        copied("catalog.scored.parquet", damaged=0)(base, folder)
        catalog = pq.read_table(base / "catalog.parquet").slice(0, 5)
        place = folder / f"x{suffix}"
        if suffix == ".parquet":
            pq.write_table(catalog.select(["source_id", "ra", "dec"]), place)
        else:
            names = ("source_id", "ra", "dec")
            table = Table({name: catalog[name].to_numpy() for name in names})
            for name in ("ra", "dec"):
                table[name].unit = "deg"
            table.write(place)
        (folder / "r.yaml").write_text(
            EXCLUDING % f"exclude:\n  - {{file: x{suffix}, column: source_id}}\n"
            f"  - {{file: x{suffix}, within: 2 arcsec}}"
        )
        return [place]

    return make


def make_region(suffix: str) -> Callable[[Path, Path], list[Path]]:
    def make(base: Path, folder: Path) -> list[Path]:
        from astropy.coordinates import Latitude, Longitude
        from mocpy import MOC

        copied("catalog.scored.parquet", damaged=0)(base, folder)
        place = folder / f"m{suffix}"
        if suffix == ".reg":
            place.write_text(
                'icrs\ncircle(180.0,0.0,60.0)\nbox(10.0,10.0,3600",1800",30)\n'
                "polygon(10,10,20,10,20,20)\n"
            )
        else:
            lon, lat = Longitude(180, "deg"), Latitude(0, "deg")
            moc = MOC.from_cone(lon=lon, lat=lat, radius=Latitude(60, "deg"), max_depth=6)
            moc.save(place, format={".fits": "fits", ".json": "json"}[suffix])
        (folder / "r.yaml").write_text(EXCLUDING % f"footprint: {{include: {{file: m{suffix}}}}}")
        return [place]

    return make


SELECT = ("select", "--rules", "r.yaml", "--dry-run", "catalog.scored.parquet")


def make_assigned(base: Path, folder: Path) -> list[Path]:
    from tests.handoff.assigned_by_hand import write_fba

    copied("bright.targets.parquet", damaged=0)(base, folder)
    targets = pq.read_table(base / "bright.targets.parquet")
    places = zip(*(targets[name].to_pylist() for name in ("ra", "dec")), strict=True)
    fibers = dict(zip(targets["target_id"].to_pylist(), places, strict=True))
    write_fba(folder / "fba-000001.fits", dict(list(fibers.items())[:4]), list(fibers)[:8], tile=1)
    return [folder / "fba-000001.fits"]


def make_design(base: Path, folder: Path) -> list[Path]:
    from tests.handoff.assigned_by_hand import write_design

    copied("bright.targets.parquet", damaged=0)(base, folder)
    rows = pq.read_table(base / "bright.targets.parquet").to_pylist()[:5]
    design = [(row["target_id"], (row["ra"], row["dec"]), 1, 1) for row in rows]
    write_design(folder / "pfsDesign-0x0000000000000001.fits", design)
    return [folder / "pfsDesign-0x0000000000000001.fits"]


def make_filled(name: str, tool: str) -> Callable[[Path, Path], list[Path]]:
    """The template or image that an export for `tool` fills or looks at."""

    def make(base: Path, folder: Path) -> list[Path]:
        from tests.handoff.lists_by_hand import moving_list
        from tests.handoff.tools_by_hand import FILES

        moving_list().write(folder / TARGETS)
        key, write = FILES[tool]
        write(folder / name)
        epoch = "" if tool == "weave" else "epoch: 2026.5\n"
        (folder / "s.yaml").write_text(f"{epoch}{key}: {name}\n")
        return [folder / name]

    return make


def make_ids(base: Path, folder: Path) -> list[Path]:
    make_assigned(base, folder)
    ids = pq.read_table(folder / TARGETS)["target_id"].to_pylist()
    rows = "".join(f"{each},{each}\n" for each in ids)
    (folder / "ids.ecsv").write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: int64}\n"
        f"# - {{name: target_id, datatype: int64}}\n# delimiter: ','\nid,target_id\n{rows}"
    )
    return [folder / "ids.ecsv"]


def make_pickle(base: Path, folder: Path) -> list[Path]:
    import torch

    tensors = {"encoder.0.weight": torch.zeros(4, 3), "encoder.0.bias": torch.ones(4)}
    torch.save(tensors, folder / "w.pth")
    return [folder / "w.pth"]


def read_weights(folder: Path) -> None:
    from targetsel.weights.pickles import read_state_dict

    read_state_dict(folder / "w.pth")


def make_journal(base: Path, folder: Path) -> list[Path]:
    from targetsel.tables.journal import Journal

    journal = Journal(folder, {"survey": "ps1", "size": 64})
    for k in range(6):
        journal.add(f"source {k}", {"status": "ok"}, bytes(40 + k))
    journal.close()
    return [folder / name for name in ("settings.json", "journal.jsonl", "pieces")]


def read_journal(folder: Path) -> None:
    from targetsel.tables.journal import Journal

    journal = Journal(folder, {"survey": "ps1", "size": 64})
    try:
        for k in range(6):
            if (record := journal.record(f"source {k}")) is not None:
                journal.piece(record)
    finally:
        journal.close()


def shipped(module: str, name: str, target: str) -> Callable[[Path, Path], list[Path]]:
    """A file that is shipped inside the package."""

    def make(base: Path, folder: Path) -> list[Path]:
        from importlib.resources import files

        (folder / target).write_bytes((files(module) / name).read_bytes())
        return [folder / target]

    return make


def both(*makers: Callable[[Path, Path], list[Path]]) -> Callable[[Path, Path], list[Path]]:
    """Files of several makers; those of the first are to be damaged."""

    def make(base: Path, folder: Path) -> list[Path]:
        first, *_ = [maker(base, folder) for maker in makers]
        return first

    return make


def make_calibration(base: Path, folder: Path) -> list[Path]:
    from targetsel.scoring.ensemble import DEFAULT, find_ensemble

    content = json.loads((find_ensemble(DEFAULT) / "calibration.json").read_text())
    (folder / "calibration.json").write_text(
        json.dumps(content | {"ensemble": {"name": "x", "sha256": CALIBRATED}})
    )
    return [folder / "calibration.json"]


def read_calibration(folder: Path) -> None:
    from targetsel.calibration.calibration import Calibration

    Calibration.read(folder, CALIBRATED, 6, redshift=True)


def make_priors(base: Path, folder: Path) -> list[Path]:
    """Priors by the shipped ensemble, which has what they need."""
    from targetsel.priors.writing import PriorOptions, ScoredPosteriors, write_parquet

    with contextlib.chdir(folder):
        copied("catalog.parquet", "cutouts", damaged=0)(base, folder)
        command("score", "catalog.parquet", "--threads", "1")(folder)
        scored = Path("catalog.scored.parquet")
        options = PriorOptions(None, None, 2, 0)
        write_parquet(ScoredPosteriors.open(scored, "mock-ps1", options), Path("p.parquet"))
    return [folder / "p.parquet"]


def read_priors(folder: Path) -> None:
    from targetsel.priors.files import PriorFile

    file = PriorFile.open(folder / "p.parquet", "mock-ps1")
    for each in list(file.rows)[:2]:
        file.prior(each)


def make_grid_spectra(suffix: str) -> Callable[[Path, Path], list[Path]]:
    """Spectra on the rest-frame grid, and the decoder of an ensemble."""

    def make(base: Path, folder: Path) -> list[Path]:
        copied("tiny", damaged=0)(base, folder)
        with np.load(base / "spectra.npz") as arrays:
            columns = {name: arrays[name][:8] for name in ("source_id", "flux", "ivar")}
        path = folder / f"g.{suffix}"
        if suffix == "npz":
            np.savez(path, **columns)
        else:
            made = {name: pa.array(list(values)) for name, values in columns.items()}
            pq.write_table(pa.table(made), path)
        return [path]

    return make


def read_labels(folder: Path) -> None:
    """Labels of a training from latents, or from spectra that a decoder is trained on as well."""
    from targetsel.spectra.decoder import Decoder
    from targetsel.training.labels import Labels
    from targetsel.training.training_spectra import TrainingSpectra

    decoder = Decoder.read(folder / "tiny")
    for path in folder.glob("latents.*"):
        Labels.of_latents(path, decoder)
    for path in folder.glob("g.*"):
        Labels.of_spectra(path, decoder)
        TrainingSpectra.read(path)


def make_checkpoint(base: Path, folder: Path) -> list[Path]:
    training = _toy_training()
    training.write(folder / "c.safetensors")
    return [folder / "c.safetensors"]


def read_checkpoint(folder: Path) -> None:
    _toy_training().read(folder / "c.safetensors")


def _toy_training() -> Any:
    from targetsel.networks.network import NetworkPlan
    from targetsel.training.examples import Examples
    from targetsel.training.network_training import NetworkTraining, Recipe, new_network

    plan, rows = NetworkPlan(n_bands=2, n_latents=2, width=0.125), np.arange(4)
    examples = Examples(lambda rows: np.zeros((len(rows), 2, 8, 8)), np.zeros((4, 2)), rows)
    return NetworkTraining(new_network(plan, 0), examples, Recipe(batch=2))


def read_decoder(folder: Path) -> None:
    from targetsel.spectra.decoder import Decoder

    Decoder.read(folder / "tiny" / "decoder.safetensors")


def read_ensemble(folder: Path) -> None:
    from targetsel.scoring.ensemble import Ensemble

    Ensemble.read(folder / "tiny")


def one_of(name: str, *others: str) -> Callable[[Path, Path], list[Path]]:
    """One file within a folder of the base is to be damaged."""

    def make(base: Path, folder: Path) -> list[Path]:
        copied(Path(name).parts[0], *others, damaged=0)(base, folder)
        return [folder / name]

    return make


CALIBRATED = "c" * 64  # what the ensemble of the calibration is said to hash to
SCORED, TARGETS = "catalog.scored.parquet", "bright.targets.parquet"
DESI_SETTINGS = "epoch: 2027.0\nobsconditions: DARK|BRIGHT\ndesi_target: SCND_ANY\n"
