"""The page of inspection: a folder that a browser opens from disk, without any network.

`index.html` holds the list, the styles and the programs; `targets-0001.js` and so on hold what is
shown of `PER_FILE` targets each, and are loaded when one of these is looked at. All that is data is
JSON, and the page's program writes it as text only, so that no id or comment can be taken for HTML.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa

from targetsel.errors import CatalogError, EnsembleError, OutputError, counted
from targetsel.imaging.picture import channels
from targetsel.imaging.store import CutoutStore
from targetsel.inspection import INDEX, PORT
from targetsel.inspection.alike import N_ALIKE, AlikeSources
from targetsel.inspection.listing import Listing, of_scored
from targetsel.inspection.notes_file import NotesFile, PageSource
from targetsel.inspection.serving import PageServer, ServedPage
from targetsel.inspection.spectra import WAVELENGTH, measured
from targetsel.inspection.targets import ShownTargets, line_headings, paths_of_spectra
from targetsel.report.companions import Companions
from targetsel.report.latents import check_was_scored, ensemble_as_scored, stores_latents
from targetsel.report.sheet import Listed, blocks, classes_of
from targetsel.rules.rules import Rules
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_match import KnownSpectra, add_known
from targetsel.scored.simulated_training import caution_in
from targetsel.scoring.ensemble import Ensemble
from targetsel.selection.scored_sources import ScoredCatalog, ScoredSources
from targetsel.selection.target_list import TargetList, rules_of
from targetsel.spectra.encoding import LINES
from targetsel.tables.columns import in_one_piece
from targetsel.tables.files import folder_written_beside, make_folder
from targetsel.tables.ids import repeated_ids
from targetsel.tables.parquet import says_simulated
from targetsel.tasks import task

PER_FILE = 100  # targets
ROWS_AT_A_TIME = 20 * PER_FILE  # in memory
MOST = 20_000  # targets, whose list a browser still sorts at once
GENERATOR = "targetsel inspect"  # by which a folder is known to be such a page


@dataclass(frozen=True)
class PageRequest:
    """What a page is made of.

    Attributes
    ----------
    targets : Path
        A target list, or a scored catalog.
    beside : Companions
        Its scored catalog and cutouts.
    ensemble : Ensemble
    rules : sequence of Rules
        In place of the list's own.
    spectra : sequence of Path
        Files of measured spectra, or folders of them.
    known : KnownSpectra or None
        As for `select`, where rules ask for it.
    like : pair of Path, optional
        Scored catalog of labelled sources and its truth: alike ones are shown beside each target.
    """

    targets: Path
    beside: Companions
    ensemble: Ensemble
    rules: Sequence[Rules] = ()
    spectra: Sequence[Path] = ()
    known: KnownSpectra | None = None
    like: tuple[Path, Path] | None = None

    @property
    def scored(self) -> Path:
        return self.beside.scored

    @property
    def store(self) -> CutoutStore | None:
        return self.beside.store


@dataclass(frozen=True)
class InspectionPage:
    """A page that was written.

    Attributes
    ----------
    path : Path
        The file to open in a browser.
    n_targets, n_measured : int
        The targets, and those of them with a measured spectrum.
    n_bytes : int
        Size of all files.
    said : tuple of str
        The files that were found, why there are no pictures, and what became of the spectra.
    sources : mapping of str to PageSource
        Its sources by id.
    served : ServedPage or None
        Where it is served; None of a page that is opened from disk.
    """

    path: Path
    n_targets: int
    n_measured: int
    n_bytes: int
    said: tuple[str, ...] = ()
    sources: Mapping[str, PageSource] = field(default_factory=dict, repr=False)
    served: ServedPage | None = None


def write_inspection(asked: PageRequest, output: Path) -> InspectionPage:
    """Write the page of a target list or scored catalog; the same input gives the same bytes.

    Raises
    ------
    CatalogError, CutoutError, EnsembleError, RuleError, SpectrumError, OutputError
    """
    _check_folder(output)
    targets = None if asked.targets == asked.scored else TargetList.read(asked.targets)
    with ScoredSources(asked.scored, ["status"]) as file:
        n = len(file) if targets is None else len(targets)
        _check_number(n, asked.targets)
        match = add_known(file, asked.known)
        ensemble = ensemble_as_scored(file, asked.ensemble)
        if asked.store is None and not stores_latents(file.schema):
            raise EnsembleError(
                f"{asked.scored}: its rows are slim and hold no posterior, so that spectra must be "
                f"predicted again, but {asked.beside.reason}. Give the cutouts with --cutouts."
            )
        rules = asked.rules or ([] if targets is None else [rules_of(targets)])
        catalogs = [ScoredCatalog(file, each, known=match) for each in rules]
        classes = [each for catalog in catalogs for each in catalog.classes.values()]
        check_was_scored(asked.store, file)
        spectra, said = _measured(asked, file, targets)
        alike = None if asked.like is None else AlikeSources.read(*asked.like, file)
        listed = [] if targets is None else [*targets.footer["bits"]]
        shown = ShownTargets(file, ensemble, asked.store, classes, listed, spectra, alike)
        make_folder(output.parent)
        with folder_written_beside(output) as beside:
            listing = _write_targets(shown, targets, n, beside)
            settings = _settings(asked, shown, listing)
            (beside / INDEX).write_text(_html(settings, listing), encoding="utf-8")
            n_bytes = sum(each.stat().st_size for each in beside.iterdir())
    told = (*_told(asked.beside), *said)
    return InspectionPage(output / INDEX, n, len(spectra), n_bytes, told, _sources(listing))


def serve_inspection(
    asked: PageRequest, output: Path, notes: Path | None = None, port: int = PORT
) -> InspectionPage:
    """Write the page of a target list or scored catalog, and serve it until it is closed.

    Parameters
    ----------
    asked : PageRequest
    output : Path
    notes : Path, optional
        CSV file of its notes; by default beside the page, named as it.
    port : int
        0 takes any that is free.

    Raises
    ------
    CatalogError, CutoutError, EnsembleError, RuleError, SpectrumError, OutputError
    """
    notes = notes or output.parent / f"{output.resolve().name}.notes.csv"
    if output.resolve() in notes.resolve().parents:
        raise OutputError(
            f"{notes}: lies in the page's folder, which is replaced when the page is written "
            "again. Choose another place for the notes."
        )
    with contextlib.ExitStack() as undone:  # what may be refused comes before the page is drawn
        file = NotesFile(notes)
        undone.callback(file.close)
        server = PageServer(file, port)
        undone.callback(server.server_close)
        page = write_inspection(asked, output)
        file.check_same_sources(page.sources)
        served = ServedPage(server, output, page.sources)
        undone.pop_all()
    return replace(page, served=served)


def _sources(listing: Listing) -> dict[str, PageSource]:
    columns, n = listing.columns, len(listing.columns["id"])
    ids, target_ids = columns["id"], columns.get("target_id", [None] * n)
    ra, dec = ([_degrees(x) for x in columns.get(name, [None] * n)] for name in ("ra", "dec"))
    return {
        each: PageSource(_target_id(each, known), class_ or "", x, y)
        for each, known, class_, x, y in zip(
            ids, target_ids, columns["class"], ra, dec, strict=True
        )
    }


def _target_id(source_id: str, known: Any) -> str:
    """As the page exports it: TARGETID of DESI is a whole number."""
    if known is not None:
        return str(known)
    return source_id if re.fullmatch(r"[0-9]{1,18}", source_id) else "-1"


def _degrees(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _told(beside: Companions) -> Iterator[str]:
    """What is to be known of the files that a page is made of."""
    if beside.found:
        yield f"found {' and '.join(beside.found)}"
    yield from (f"caution: {each[:1].lower()}{each[1:-1]}" for each in beside.cautions)
    if beside.reason:
        yield f"no pictures: {beside.reason}; name a store with --cutouts"


def _check_folder(output: Path) -> None:
    """Refuse to replace anything but a page of inspection."""
    if output.is_file():
        raise OutputError(f"{output}: is a file; expected a folder. Choose another name.")
    if not output.is_dir() or not any(output.iterdir()):
        return
    index = output / INDEX
    if not index.is_file() or GENERATOR not in index.read_text("utf-8", "replace")[:2000]:
        raise OutputError(
            f"{output}: holds other files than a page of inspection, which would replace them. "
            "Choose another folder."
        )


def _check_number(n: int, path: Path) -> None:
    if n == 0:
        raise CatalogError(f"{path}: has no targets, so there is nothing to inspect. Name another.")
    if n > MOST:
        raise CatalogError(
            f"{path}: has {counted(n, 'source')}, expected at most {MOST:,}. Select some of them "
            "with 'targetsel select', and inspect that list."
        )


def _measured(
    asked: PageRequest, file: ScoredSources, targets: TargetList | None
) -> tuple[dict[str, Any], list[str]]:
    if not asked.spectra:
        return {}, []
    names = ["source_id", "ra", "dec"]
    if targets is None:
        columns = [file.names[name] for name in names]
        table = pa.concat_tables(file.tables(columns)).rename_columns(names)
    else:
        table = targets.table.select(names)
    ids, ra, dec = (table[name].to_numpy() for name in names)
    found, said = measured(paths_of_spectra(asked.spectra), ids, ra, dec)
    return found, [said]


def _write_targets(
    shown: ShownTargets, targets: TargetList | None, n: int, folder: Path
) -> Listing:
    """Write the data files, and gather the columns of the list."""
    file, listing = shown.file, Listing()
    names = [
        file.names["source_id"],
        *(x for x in file.schema.names if x != file.names["source_id"]),
    ]
    _check_unique(file, targets)
    listed = None if targets is None else Listed.of(targets)
    members = None if targets is None else classes_of(targets)
    start = 0
    with task("drawing", n, "targets") as advance:
        for table in _rebatched(table for table, _ in blocks(file, listed, names, ROWS_AT_A_TIME)):
            rows = slice(start, start + len(table))
            own = None if members is None else members[rows]
            data = shown.records(table, own)
            _write_data(data, folder / f"targets-{start // PER_FILE + 1:04d}.js")
            tables = [table]
            if targets is not None:
                tables = [
                    targets.table.slice(start, len(table)),
                    table.select(of_scored(table.schema)),
                ]
                tables.append(table.select(_brightness(table.schema)))
            ids = [each["id"] for each in data["targets"]]
            listing.add(tables, ids, _classes(data, own))
            start += len(table)
            advance(len(table))
    return listing


def _check_unique(file: ScoredFile, targets: TargetList | None) -> None:
    """Refuse a source that is shown more than once: its notes would be one."""
    if targets is None:
        name, path = file.names["source_id"], file.path
        repeated = repeated_ids(
            lambda: (in_one_piece(table.column(0)) for table in file.tables([name])), len(file)
        )
    else:
        path = targets.path or "the list"
        ids = in_one_piece(targets.table.column("source_id"))
        repeated = repeated_ids(lambda: [ids], len(targets))
    if repeated:
        raise CatalogError(
            f"{path}: the source {repeated[0]!r} is there more than once. Remove the repeated rows."
        )


def _brightness(schema: pa.Schema) -> list[str]:
    from targetsel.photometry.columns import photometric_columns

    return [each.name for each in photometric_columns(schema)]


def _classes(data: dict[str, Any], members: Sequence[Sequence[str]] | None) -> list[str]:
    if members is not None:
        return [", ".join(each) for each in members]
    return [
        ", ".join(why["class"] for why in each["why"] if why["selected"].startswith("obeys"))
        for each in data["targets"]
    ]


def _rebatched(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, `PER_FILE` in each table but the last."""
    left: pa.Table | None = None
    for table in tables:
        left = table if left is None else pa.concat_tables([left, table])
        while len(left) >= PER_FILE:
            yield left.slice(0, PER_FILE)
            left = left.slice(PER_FILE)
    if left is not None and len(left):
        yield left


def _write_data(data: dict[str, Any], path: Path) -> None:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    path.write_text(f'inspection.add("{path.stem}",{text});\n', encoding="ascii")


def _settings(asked: PageRequest, shown: ShownTargets, listing: Listing) -> dict[str, Any]:
    """What the page says of all targets."""
    footer, store = shown.file.footer, shown.store
    ids = listing.columns["id"]
    catalog = footer.get("catalog")
    key = catalog.get("sha256") if isinstance(catalog, dict) else None
    caution = caution_in(footer)
    simulated = says_simulated(footer) or (store is not None and store.simulated)
    cautions = [*asked.beside.cautions, *(["The images are simulated."] if simulated else [])]
    ensemble = shown.ensemble
    return {
        # Notes are kept under this key: they stay when another list is selected of the catalog.
        "key": (key or hashlib.sha256("\n".join(ids).encode()).hexdigest())[:16],
        "title": asked.targets.name,
        "per_file": PER_FILE,
        "wavelength": [round(float(each), 2) for each in WAVELENGTH],
        "markers": [[name, at] for name, at in LINES.items()],
        "lines": line_headings(shown.file.schema),
        "alike": None
        if asked.like is None or shown.alike is None
        else {
            "name": asked.like[0].name,
            "n": len(shown.alike),
            "k": min(N_ALIKE, len(shown.alike)),
        },
        "calibrated": bool(footer.get("calibration")),
        "ensemble": str(ensemble.card.get("name", "")),
        "bands": [] if store is None else list(store.bands),
        "side": None if store is None else round(min(store.shape[-2:]) * store.pixel_scale, 4),
        "channels": {} if store is None else channels(store.bands),
        "cautions": cautions + ([f"Caution: {caution}."] if caution else []),
    }


# ---------------------------------------------------------------------- HTML


def _asset(name: str) -> str:
    return (resources.files("targetsel.inspection") / "data" / name).read_text(encoding="utf-8")


def _html(settings: dict[str, Any], listing: Listing) -> str:
    licence = _asset("LICENSE.uPlot.txt").replace("*/", "")
    scripts = [f"/*!\nuPlot\n{licence}*/\n{_asset('uPlot.iife.min.js')}"]
    scripts += [_asset(name) for name in PROGRAMS]
    style = _asset("uPlot.min.css") + _asset("inspect.css")
    hashes = " ".join(f"'sha256-{_sha256(each)}'" for each in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes} 'self' file:; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    columns = {"columns": listing.records}
    parts = {
        "generator": GENERATOR,
        "policy": escape(policy, quote=False),
        "title": escape(settings["title"]),
        "style": style,
        "settings": _json(settings),
        "list": _json(columns),
        "scripts": "\n".join(f"<script>{each}</script>" for each in scripts),
    }
    # In one pass: data may hold such a mark, too.
    return re.sub(r"{{(\w+)}}", lambda mark: parts[mark[1]], _asset("inspect.html"))


PROGRAMS = ("notes.js", "served.js", "spectrum.js", "charts.js", "alike.js", "inspect.js")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _json(value: Any) -> str:
    """JSON that can stand in a script element: no character in it ends the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
