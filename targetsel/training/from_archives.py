"""A training set fetched from surveys into one folder: sources, spectra, latents and cutouts.

    query -> spectra -> rest frame and latents -> cutouts -> catalog and report

Each step keeps its results in the folder, and requests again only what was not answered. Dropped
sources are listed with their reason.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cdshealpix.nested
import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.coordinates import Latitude, Longitude

from targetsel.errors import CatalogError, SpectrumError, unknown
from targetsel.sky.catalog import Catalog
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.reading import try_spectra
from targetsel.spectra.rest_frame import rest_frame
from targetsel.spectra.spectrum import ObservedSpectrum
from targetsel.surveys.cutouts import ImageService, fetch_cutouts
from targetsel.surveys.fetching import (
    OK,
    Fetched,
    FetchFolder,
    Reply,
    bytes_of_table,
    manifest_of,
    table_of_bytes,
)
from targetsel.surveys.http import Answer
from targetsel.surveys.sdss import GALAXIES, PHOTOMETRY, SPECTROSCOPY, SkyServer
from targetsel.surveys.spectra import SpectrumService, fetch_spectra, wanted_in
from targetsel.tables.columns import list_column
from targetsel.tables.files import held, sha256_of_file, written_beside
from targetsel.tables.ids import uniform
from targetsel.tables.journal import check_settings
from targetsel.tables.parquet import ParquetSink, described, read_footer, write_table
from targetsel.tables.reading import ParquetReader
from targetsel.tasks import tracked
from targetsel.training.columns import DROPPED, ID_FIELD, SPECTRA
from targetsel.training.labels import Labels
from targetsel.version import __version__

SOURCES_PER_PART = 1024
GROUP_ORDER = 7  # HEALPix cells of 27 arcmin: cutouts that overlap are mostly in one
ROLES = {"source_id": "source_id", "ra": "ra", "dec": "dec"}

Report = Callable[[str], object]
Dropped = dict[int, tuple[str, str]]  # by source: the step and the reason


@dataclass(frozen=True)
class Sample:
    """A choice of galaxies to train on.

    Attributes
    ----------
    name, description : str
    condition : str
        Condition in SkyServer's SQL, on SpecObj s and PhotoObj p.
    pieces : int
        Number of queries, a prime: each asks for one remainder of objID divided by it.
    """

    name: str
    description: str
    condition: str
    pieces: int

    def question(self, piece: int) -> str:
        """The query for the galaxies of one remainder, in SkyServer's SQL."""
        photometry = [f"p.{name}" for column in PHOTOMETRY for name in column.names]
        spectroscopy = [
            "s.z AS redshift" if name == "redshift" else f"s.{name}"
            for column in SPECTROSCOPY
            for name in column.names
        ]
        return (
            f"SELECT {', '.join([*photometry, *spectroscopy])} FROM SpecObj AS s "
            "JOIN PhotoObj AS p ON p.objID = s.bestObjID "
            f"WHERE {self.condition} AND (p.objID % {self.pieces}) = {piece}"
        )


# SpecObj holds the best spectrum at each position. Bits 6 to 8 of the first target flag are the
# main galaxy sample's (Strauss et al. 2002, AJ 124, 1810); the redshifts are those of Portillo
# et al. (2020, AJ 160, 45), beyond which Halpha leaves the spectra.
SDSS_MAIN = Sample(
    "sdss-main",
    "SDSS main galaxies with reliable redshifts up to 0.36",
    "(s.legacy_target1 & 448) > 0 AND s.class = 'GALAXY' AND s.zWarning = 0 "
    "AND s.z BETWEEN 0 AND 0.36",
    pieces=97,
)
SAMPLES = {sample.name: sample for sample in (SDSS_MAIN,)}


def find_sample(name: str) -> Sample:
    """The sample of this name.

    Raises
    ------
    CatalogError
        If there is none; lists the known names.
    """
    if name not in SAMPLES:
        raise CatalogError(unknown("sample", name, SAMPLES))
    return SAMPLES[name]


@dataclass(frozen=True)
class TrainingServices:
    """The services that a training set is fetched from."""

    catalog: SkyServer
    spectra: SpectrumService
    cutouts: ImageService


@dataclass(frozen=True)
class TrainingSetSummary:
    """Counts of the sources of a training set.

    Attributes
    ----------
    asked : int
        Number of sources of the sample.
    ready : int
        Number of sources with latents and all bands.
    dropped : mapping
        From (step, kind of reason) to the number of sources.
    unfinished : int
        Number of sources that another run may still complete.
    """

    asked: int
    ready: int
    dropped: Mapping[tuple[str, str], int]
    unfinished: int


def make_training_set(
    folder: Path,
    sample: Sample,
    n: int,
    services: TrainingServices,
    decoder: Path,
    seed: int = 0,
    report: Report = lambda line: None,
) -> TrainingSetSummary:
    """Make a training set, or resume one.

    Writes into `folder`: `catalog.parquet`, `latents.parquet`, `spectra.parquet` (rest frame, on
    the grid), `cutouts/` and `decoder/`, which `targetsel train` takes; `dropped.parquet`, a row
    for each source that was left out; and files to resume from, such as the observed spectra.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    n : int
        Number of galaxies; a hash of their ids and `seed` chooses them.
    decoder : Path
        File of the decoder whose latents are the labels.

    Raises
    ------
    CatalogError, SpectrumError, CutoutError
        If a service does not answer; earlier results are kept.
    OutputError
        If the folder cannot be written, or was begun with other settings.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with held(folder):
        settings = {
            "sample": sample.name,
            "condition": sample.condition,
            "n": n,
            "seed": seed,
            "decoder_sha256": sha256_of_file(decoder),
            "survey": dict(services.cutouts.settings()),
        }
        check_settings(folder / "settings.json", settings)
        return _TrainingSetRun(folder, services, decoder, settings, report).make(sample, n, seed)


@dataclass(frozen=True)
class _TrainingSetRun:
    """The steps of one training set."""

    folder: Path
    services: TrainingServices
    decoder: Path
    settings: Mapping[str, Any]
    report: Report

    def make(self, sample: Sample, n: int, seed: int) -> TrainingSetSummary:
        dropped: Dropped = {}
        sources = self._chosen(sample, n, seed)
        unfinished = self._spectra(sources, dropped)
        labels = self._latents(sources, dropped)
        unfinished += self._cutouts(sources, labels, dropped)
        ready = self._finish(sources, labels, dropped)
        kinds = Counter((step, _kind(reason)) for step, reason in dropped.values())
        return TrainingSetSummary(sources.num_rows, ready, dict(sorted(kinds.items())), unfinished)

    # ------------------------------------------------------------------ query

    def _chosen(self, sample: Sample, n: int, seed: int) -> pa.Table:
        """The sources of the sample, by id."""
        path, catalog = self.folder / "sample.parquet", self.services.catalog
        if not path.exists():
            with FetchFolder.open(path, self.settings, _name_of_piece, CatalogError) as fetched:
                found: list[pa.Table] = []
                for piece in range(sample.pieces):
                    if sum(table.num_rows for table in found) >= n:
                        break
                    ask = partial(self._ask, sample)
                    fetched.fetch_missing(lambda: [piece], ask, unit="answers")  # noqa: B023
                    if not fetched.is_finished(piece):
                        raise CatalogError(
                            f"{catalog.url}: no good answer: {fetched.statuses(piece)[0]}. What "
                            "came is kept: run the same command later."
                        )
                    found.append(table_of_bytes(fetched.content(piece)))
                    self.report(f"query: {found[-1].num_rows} galaxies in piece {piece}")
                table = _each_once(pa.concat_tables(found))
                if not table.num_rows:
                    raise CatalogError(
                        f"{catalog.url}: has no source of {sample.name}. Choose another sample."
                    )
                ids = table["source_id"].to_numpy()
                order = np.argsort(uniform(ids, seed, "training set")[:, 0])
                chosen = table.take(pa.array(order[:n])).sort_by("source_id")
                write_table(chosen, path, dict(self.settings))
                fetched.remove()
        table = _read(path)
        self.report(f"sample: {table.num_rows} sources of {sample.name}")
        return table

    def _ask(self, sample: Sample, pieces: Sequence[int]) -> list[Fetched]:
        """The galaxies of some remainders."""
        catalog = self.services.catalog
        tables = [catalog.rows(sample.question(piece), GALAXIES.renamed) for piece in pieces]
        return [
            Fetched([Reply(OK, None, Answer(catalog.url))], bytes_of_table(rows)) for rows in tables
        ]

    # ------------------------------------------------------------------ spectra

    def _spectra(self, sources: pa.Table, dropped: Dropped) -> int:
        """Fetch the spectra; return the number of sources that may still get one."""
        service, output = self.services.spectra, self.folder / "observed.parquet"
        wanted = wanted_in(sources, service, str(self.folder / "sample.parquet"))
        fetched = fetch_spectra(service, wanted, output)
        self.report(f"spectra: {fetched.written} of {sources.num_rows}")
        manifest = _read(manifest_of(output))
        for key, status in _rows(manifest, "source_id", "status"):
            if status != OK:
                dropped[key] = "spectrum", status
        return fetched.unfinished

    # ------------------------------------------------------------------ latents

    def _latents(self, sources: pa.Table, dropped: Dropped) -> pa.Table:
        """Bring spectra to the rest frame and encode them; return ids, latents and their noise."""
        folder = self.folder / "encoded"
        folder.mkdir(exist_ok=True)
        observed = self.folder / "observed.parquet"
        ids = _read(observed, ["source_id"])["source_id"].to_numpy()
        last = sources["source_id"].to_numpy()[SOURCES_PER_PART - 1 :: SOURCES_PER_PART]
        number = np.searchsorted(last, ids)  # of the part that each spectrum belongs to
        spectra = tracked(try_spectra(observed), "encoding", len(ids), "spectra")
        rows = zip(number.tolist(), ids.tolist(), spectra, strict=True)
        decoder = Decoder.read(self.decoder)
        parts = []
        for part, some in itertools.groupby(rows, lambda row: row[0]):
            path = folder / f"latents-{part:05d}.parquet"
            of = f"{self.settings['decoder_sha256']}:{ids[number == part].tolist()}"
            of = hashlib.sha256(of.encode()).hexdigest()
            if not _is_whole_part(path, of):
                _encode_part(path, [row[1:] for row in some], decoder, {"of": of})
                self.report(f"latents: part {part + 1} of {number.max() + 1}")
            parts.append(path)
        for part in parts:
            notes = read_footer(part)["dropped"]
            dropped |= {int(key): ("latents", reason) for key, reason in notes.items()}
        return pa.concat_tables(_read(part) for part in parts)

    # ------------------------------------------------------------------ cutouts

    def _cutouts(self, sources: pa.Table, labels: pa.Table, dropped: Dropped) -> int:
        """Fetch cutouts of all sources with latents; return the number that may still get one."""
        known = np.isin(sources["source_id"].to_numpy(), labels["source_id"].to_numpy())
        catalog = Catalog(sources.filter(pa.array(known)), ROLES)
        store = self.folder / "cutouts"
        fetched = fetch_cutouts(self.services.cutouts, lambda: [catalog], store)
        self.report(f"cutouts: {fetched.written} of {len(catalog)}")
        manifest = _read(manifest_of(store))
        for key, band, status in _rows(manifest, "source_id", "band", "status"):
            if status != OK and key not in dropped:
                dropped[key] = "cutout", f"{band}: {status}"
        return fetched.unfinished

    # ------------------------------------------------------------------ results

    def _finish(self, sources: pa.Table, labels: pa.Table, dropped: Dropped) -> int:
        """Write the training's inputs and the dropped sources; return the number ready."""
        ready = {key for key in labels["source_id"].to_pylist() if key not in dropped}
        if not ready:
            raise SpectrumError(
                f"{self.folder}: no source has both latents and a whole cutout; dropped: "
                f"{_counted(dropped)}. Ask for more sources."
            )
        footer = dict(self.settings) | {"code_version": __version__}
        write_table(_with_groups(_only(sources, ready)), self.folder / "catalog.parquet", footer)
        write_table(_only(labels, ready), self.folder / "latents.parquet", footer)
        self._write_spectra(ready, footer)
        rows = [{"source_id": k, "step": s, "reason": r} for k, (s, r) in sorted(dropped.items())]
        write_table(pa.Table.from_pylist(rows, DROPPED), self.folder / "dropped.parquet", footer)
        (self.folder / "decoder").mkdir(exist_ok=True)
        with written_beside(self.folder / "decoder" / "decoder.safetensors") as beside:
            shutil.copyfile(self.decoder, beside)
        return len(ready)

    def _write_spectra(self, ready: set[int], footer: Mapping[str, Any]) -> None:
        """Write the rest-frame spectra of complete sources."""
        with ParquetSink(self.folder / "spectra.parquet", SPECTRA, 1024) as sink:
            sink.footer.update(footer)
            for part in sorted((self.folder / "encoded").glob("spectra-*.parquet")):
                sink.write(_only(_read(part), ready))


def _encode_part(
    path: Path,
    rows: list[tuple[int, ObservedSpectrum | SpectrumError]],
    decoder: Decoder,
    footer: Mapping[str, str],
) -> None:
    """Write a part's rest-frame spectra and latents; the latter's footer lists dropped sources."""
    dropped: dict[int, str] = {}
    made = []
    for key, spectrum in rows:
        try:
            if isinstance(spectrum, SpectrumError):
                raise spectrum
            rest = rest_frame([spectrum])
            flux, ivar = rest.flux[0].astype(np.float32), rest.ivar[0].astype(np.float32)
            made.append({"source_id": key, "flux": flux, "ivar": ivar})
        except SpectrumError as error:
            dropped[key] = str(error)
    spectra = _spectra_beside(path)
    write_table(pa.Table.from_pylist(made, SPECTRA), spectra)
    try:
        labels = Labels.of_spectra(spectra, decoder)
        ids, mean, noise = labels.source_id, labels.mean, labels.noise
    except SpectrumError:  # no spectrum to encode
        ids, mean, noise = np.zeros(0, np.int64), *np.zeros((2, 0, decoder.n_latents))
    without = {row["source_id"] for row in made} - set(ids.tolist())
    dropped |= dict.fromkeys(
        without, "not positive on average: it can be neither filled nor scaled"
    )
    notes = {str(key): reason for key, reason in sorted(dropped.items())}
    write_table(_latent_table(ids, mean, noise), path, {**footer, "dropped": notes})


def _is_whole_part(latents: Path, of: str) -> bool:
    """Whether both files of a part are there, undamaged, and of these spectra."""
    try:
        footer = read_footer(latents)
        whole = footer.get("of") == of and "dropped" in footer
        return whole and _read(latents).num_rows <= _read(_spectra_beside(latents)).num_rows
    except CatalogError:
        return False


def _spectra_beside(latents: Path) -> Path:
    return latents.with_name(latents.name.replace("latents", "spectra"))


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    with ParquetReader(path) as file:
        return file.read(columns)


def _latent_table(ids: np.ndarray, mean: np.ndarray, noise: np.ndarray) -> pa.Table:
    """Table of latents in the form that `targetsel train --latents` reads."""
    columns = [pa.array(ids, pa.int64()), list_column(mean), list_column(noise)]
    about = "scatter of the latents under fresh noise of the spectrum"
    fields = [
        ID_FIELD,
        described("latent_mean", columns[1].type, description="standardised latents"),
        described("latent_std", columns[2].type, description=about),
    ]
    return pa.table(columns, schema=pa.schema(fields))


def _name_of_piece(piece: int) -> str:
    return f"piece {piece}"


def _with_groups(table: pa.Table) -> pa.Table:
    """The table with `group_id`, which keeps neighbours together in training or test."""
    place = Longitude(table["ra"].to_numpy(), u.deg), Latitude(table["dec"].to_numpy(), u.deg)
    cells = cdshealpix.nested.lonlat_to_healpix(*place, GROUP_ORDER, num_threads=1)
    about = f"HEALPix cell of order {GROUP_ORDER}"
    field = described("group_id", pa.int64(), "", "pos.healpix", about, nullable=False)
    return table.append_column(field, pa.array(cells.astype(np.int64)))


def _each_once(table: pa.Table) -> pa.Table:
    """The first row of each source."""
    _, first = np.unique(table["source_id"].to_numpy(), return_index=True)
    return table.take(pa.array(np.sort(first)))


def _only(table: pa.Table, ids: set[int]) -> pa.Table:
    return table.filter(pa.array(np.isin(table["source_id"].to_numpy(), list(ids))))


def _rows(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def _kind(reason: str) -> str:
    """A reason without the place and the numbers in it, so that it can be counted."""
    words = re.sub(r"^[^:]*observed\.parquet[^:]*: ", "", reason)
    return re.sub(r"\d[\d.,e+-]*\d|\d", "N", words)


def _counted(dropped: Dropped) -> str:
    kinds = Counter(f"{step}: {_kind(reason)}" for step, reason in dropped.values())
    return "; ".join(f"{n} {kind}" for kind, n in kinds.most_common(3)) or "none"
