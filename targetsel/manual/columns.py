"""Columns of every kind of file that commands write, from the declarations that write them.

Names such as ``inclusion_<class>`` stand for one column of each class, line or width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa

from targetsel.manual.entries import Entry, code, definitions, page, sentence
from targetsel.scored.columns import CATALOG, scored_columns
from targetsel.scored.known_columns import COLUMNS as KNOWN_COLUMNS
from targetsel.spectra.lines import PROXIES
from targetsel.tables.columns import ID, NEVER, Column
from targetsel.tables.types import held

_TYPES = {"float": "float32", "double": "float64"}  # as others than Arrow call them
Columns = Iterable[Column | pa.Field]
# Columns that files of several kinds have: all files are gathered to explain one of these.
SHARED = {
    "source_id", "ra", "dec", "status", "target_id", "source_catalog", "latent_mean", "flux",
    "unmeasured", "program", "probability", *PROXIES,
    *(f"{name}{end}" for name in PROXIES for end in ("_q16", "_q84")),
}  # fmt: skip
ABOUT = (
    "Tables are Parquet files unless the ending of the output says otherwise. Every column keeps "
    "its unit, UCD and meaning in the file, where the format has a place for them. Names such as "
    "`inclusion_<class>` stand for one column of each class, line or band."
)


@dataclass(frozen=True)
class KindOfFile:
    """One kind of file that commands write.

    Attributes
    ----------
    name : str
    command : str
        The command that writes it.
    about : str
        What a row is, and what else the file has.
    columns : callable
        Its columns, gathered when they are asked for.
    is_light : bool
        Whether gathering them imports little.
    """

    name: str
    command: str
    about: str
    columns: Callable[[], Columns]
    is_light: bool = False


def _scored() -> Columns:
    return [*(_named(each) for each in CATALOG), *scored_columns(1, 1, redshift=True)]


def _named(column: Column) -> Column:
    """A column of the catalog with what it means."""
    meaning = {
        "source_id": "id in the catalog, under the name that it has there",
        "ra": "ICRS",
        "dec": "ICRS",
        "_healpix_29": "nested cell of order 29, which rows are sorted by in chunks",
    }
    return Column(column.name, column.type, column.unit, "", meaning[column.name], NEVER)


def _targets() -> Columns:
    from targetsel.selection.inclusion import inclusion_column
    from targetsel.selection.target_list import TARGETS

    return [*TARGETS.columns, _brightness(), *KNOWN_COLUMNS, inclusion_column("<class>")]


def _brightness() -> Column:
    return Column(
        "flux_<band>_<system>", pa.float32(), "nJy", "phot.flux.density",
        "brightness of the catalog in a band of a photometric system, such as flux_r_sdss",
        "it was not measured",
    )  # fmt: skip


def _store() -> Columns:
    from targetsel.imaging.store import FLUX, SOURCE

    return [*SOURCE.columns, FLUX]


def _figures() -> Columns:
    from targetsel.report.figures import COLUMNS

    return COLUMNS


def _claims() -> Columns:
    from targetsel.report.counts import KIND

    return KIND.columns


def _randoms() -> Columns:
    from targetsel.selection.reports.randoms import BITS, PIXEL, POINTS

    return [*POINTS, PIXEL, BITS]


def _inclusion() -> Columns:
    from targetsel.selection.inclusion import inclusion_column
    from targetsel.selection.reports.selection_function import KEPT
    from targetsel.selection.target_list import TARGETS

    return [*(TARGETS[name] for name in KEPT), inclusion_column("<class>")]


def _weighted() -> Columns:
    from targetsel.selection.reports.density import ALL
    from targetsel.selection.reports.density_report import weight_column

    return [weight_column(ALL), weight_column("<class>")]


def _map() -> Columns:
    from targetsel.selection.reports.density import order_of
    from targetsel.selection.reports.selection_function import map_columns

    return map_columns(["<class>"], order_of(64))


def _injected() -> Columns:
    from targetsel.injection.columns import injected_columns

    return injected_columns(["<class>"])


def _catalog() -> Columns:
    from targetsel.mock.writing import catalog_columns

    return catalog_columns(weighted=True)


def _truth() -> Columns:
    from targetsel.mock.writing import latent_column, truth_columns

    return [*truth_columns(["<line>"], ["<band>_<band>"]), latent_column(1)]


def _mock_spectra() -> Columns:
    from targetsel.mock.writing import spectra_columns

    return spectra_columns()


def _compared() -> Columns:
    from targetsel.scoring.surprise import surprise_columns

    return surprise_columns(1)


def _observed() -> Columns:
    from targetsel.nights.visibility import COLUMNS
    from targetsel.observing.observation import followed_columns, observed_columns
    from targetsel.spectrographs.following import Following
    from targetsel.spectrographs.lines import Line
    from targetsel.spectrographs.spectrograph import Exposure, Spectrograph

    exposure = Exposure(Spectrograph.find("desi"), 1000, 7)
    line = Line("ew_<line>", ((6564.61, 1.0),))
    light = followed_columns(Following(exposure, (line,), (1000.0,)))
    found = [*observed_columns(exposure, (line,), PROXIES), *light, *COLUMNS]
    posterior = [each for each in found if each.name.endswith(("_quantiles", "_correlation"))]
    about = {
        "DESI (approximate)": "the spectrograph",
        "1000 s": "the exposure time",
        "1000 Angstrom": "the bands' wavelengths",
    }
    plain = [each for each in found if each not in posterior]
    return [*(_replaced(each, about) for each in plain), *(_replaced(each, about)
            for each in posterior)]  # fmt: skip


def _planned() -> Columns:
    from targetsel.nights.plan import COLUMNS

    return COLUMNS


def _pointings() -> Columns:
    from targetsel.handoff.pointings import COLUMNS

    return COLUMNS


def _replaced(column: Column, words: dict[str, str]) -> Column:
    from dataclasses import replace

    meaning = column.meaning
    for one, other in words.items():
        meaning = meaning.replace(one, other)
    return replace(column, meaning=meaning)


def _calibrated() -> Columns:
    from targetsel.spectra.lines.width_maps import CALIBRATED, calibrated_column

    names = [f"<width>{CALIBRATED}{end}" for end in ("", "_q16", "_q84")]
    return [calibrated_column(name, "the catalog of the maps") for name in names]


def _measured() -> Columns:
    from targetsel.spectra.lines import LineTable
    from targetsel.spectra.lines.strengths import strength_columns
    from targetsel.spectra.reading import columns_of_results

    return columns_of_results(strength_columns(LineTable.shipped()))


def _embeddings() -> Columns:
    from targetsel.embeddings.columns import COLUMNS

    return COLUMNS


def _encoded() -> Columns:
    from targetsel.spectra.encoding import latent_columns
    from targetsel.spectra.reading import columns_of_results

    return columns_of_results(latent_columns(1))


def _priors() -> Columns:
    from targetsel.priors.columns import prior_columns

    return [Column("source_id", ID, meaning="id in the catalog", null_when=NEVER),
            *prior_columns(1, 1, 1)]  # fmt: skip


def _cells() -> Columns:
    from targetsel.feature_cells.columns import COLUMNS

    return COLUMNS


def _joined() -> Columns:
    from targetsel.redshifts.joining import FINELY, ORIGIN

    return [FINELY, ORIGIN]


def _updated() -> Columns:
    from targetsel.priors.columns import update_columns

    return update_columns(256, pa.int64())


def _spectrum_store() -> Columns:
    from targetsel.surveys.fetching import SOURCE
    from targetsel.surveys.spectra import SPECTRUM

    return [SOURCE, *SPECTRUM]


def _manifest() -> Columns:
    from targetsel.surveys.fetching import BAND, REPLY, SOURCE

    return [SOURCE, BAND, *REPLY]


def _survey_catalogs() -> Columns:
    from targetsel.surveys.desi import ZPIX
    from targetsel.surveys.legacy import TRACTOR
    from targetsel.surveys.ps1 import COLUMNS
    from targetsel.surveys.sdss import GALAXIES

    found: dict[str, pa.Field] = {}
    for each in (TRACTOR, COLUMNS, GALAXIES, ZPIX):
        for field in each.schema:
            found.setdefault(field.name, field)
    return found.values()


def _training_spectra() -> Columns:
    from targetsel.training.columns import SPECTRA

    return SPECTRA


def _dropped() -> Columns:
    from targetsel.training.columns import DROPPED

    return DROPPED


def _latents() -> Columns:
    from targetsel.training.columns import LATENTS

    return LATENTS.columns


def _inspected() -> Columns:
    from targetsel.inspection.merging import COLUMNS

    return COLUMNS


def _outcomes() -> Columns:
    from targetsel.feedback.table import OUTCOMES

    return OUTCOMES.columns


def _ids() -> Columns:
    from targetsel.handoff.export import ID_MAP

    return ID_MAP


def _priorities() -> Columns:
    from targetsel.handoff.export import PRIORITY_MAP

    return PRIORITY_MAP


KINDS = (
    KindOfFile("scored catalog", "score", "A row is a source: the columns of the catalog, then "
               "these.", _scored, True),
    KindOfFile("target list", "select", "A row is a target, in the order of the sky. After these "
               "come the columns of the scored catalog that the rules name.", _targets, True),
    KindOfFile("cutout store", "cutouts pack", "A row is a source with its cutouts.", _store, True),
    KindOfFile("figures of an evaluation", "evaluate", "evaluation.parquet: a row is a figure.",
               _figures, True),
    KindOfFile("claims of an evaluation", "evaluate", "claims.parquet: a row is a claim of "
               "probability, with what came true.", _claims, True),
    KindOfFile("random points", "randoms", "A row is a point. Points of your own keep their "
               "columns in place of the first three.", _randoms, True),
    KindOfFile("selection function", "selection-function", "A row is a target.", _inclusion, True),
    KindOfFile("map of the selection function", "selection-function", "A row is a HEALPix pixel.",
               _map, True),
    KindOfFile("list of even density", "density --against", "The target list, with these columns "
               "after its own.", _weighted),
    KindOfFile("selection function of images", "inject", "A row is a source after one step; those "
               "of a source follow one another.", _injected, True),
    KindOfFile("comparison", "compare", "The scored catalog, with these columns after its own.",
               _compared),
    KindOfFile("joined redshifts", "join-redshifts", "The scored catalog, with these columns "
               "after its own. `photoz`, where it had none, is as `score` writes it.", _joined),
    KindOfFile("cells", "cells", "The scored catalog, with these columns after its own. The "
               "footer's `cells` has the centres, which `--like` takes.", _cells, True),
    KindOfFile("observation", "observe", "The scored catalog, with these columns after its own.",
               _observed),
    KindOfFile("plan of a night", "night", "The target list in the order of the night, with these "
               "columns after its own.", _planned),
    KindOfFile("inspected sources", "inspect-merge", "A row is a source that people inspected.",
               _inspected),
    KindOfFile("pointings of a night", "night --pointings", "A row is a pointing of a fiber "
               "instrument, in the order of the night.", _pointings),
    KindOfFile("calibrated widths", "lines apply", "The scored catalog, with these columns after "
               "its own.", _calibrated),
    KindOfFile("measured lines", "spectra measure", "A row is a spectrum.", _measured),
    KindOfFile("encoded spectra", "spectra encode", "A row is a spectrum.", _encoded),
    KindOfFile("features of an ensemble", "embed", "A row is a source, in the order of the "
               "catalog.", _embeddings, True),
    KindOfFile("priors", "priors write", "A row is a source. Before `status` stand the medians of "
               "the scored catalog's line strengths.", _priors),
    KindOfFile("updated priors", "priors update", "A row is a spectrum.", _updated),
    KindOfFile("spectrum store", "fetch spectra", "A row is a source with its spectrum.",
               _spectrum_store),
    KindOfFile("manifest", "fetch", "A row is a source, and a band where each has its own answer.",
               _manifest),
    KindOfFile("survey catalog", "fetch catalog", "A row is a source; each survey has some of "
               "these columns, and `_healpix_29`.", _survey_catalogs),
    KindOfFile("training spectra", "trainingset", "spectra.parquet: a row is a source.",
               _training_spectra),
    KindOfFile("training latents", "trainingset", "latents.parquet: a row is a source.", _latents),
    KindOfFile("dropped sources", "trainingset", "dropped.parquet: a row is a source that is not "
               "in the training set.", _dropped),
    KindOfFile("outcomes", "outcomes", "A row is a target, in the order of the list; lines and "
               "redshifts as far as they were measured.", _outcomes),
    KindOfFile("map of priorities", "export", "FILE.priorities.ecsv beside the file of a tool: a "
               "row is a priority.", _priorities),
    KindOfFile("map of ids", "export", "FILE.ids.ecsv beside the file of a tool that has its own "
               "ids: a row is a target.", _ids),
    KindOfFile("mock catalog", "mock", "catalog.parquet, also of `targetsel demo`: a row is a "
               "source.", _catalog),
    KindOfFile("mock truth", "mock", "truth.parquet: a row is a source. `targetsel demo` adds the "
               "latents.", _truth),
    KindOfFile("mock spectra", "mock", "spectra.parquet: a row is a source.", _mock_spectra),
)  # fmt: skip


def files() -> Iterator[Entry]:
    """One entry for each kind of file, with all its columns."""
    for kind in KINDS:
        yield _file(kind)


def _file(kind: KindOfFile) -> Entry:
    columns = columns_of(kind)
    text = f"Written by `targetsel {kind.command}`. {kind.about}\n\n" + definitions(
        (f"{code(each.name)} {_kind(each)}", _text(each)) for each in columns
    )
    return Entry("file", kind.name, kind.about, text, title=sentence(kind.name).rstrip("."))


def columns() -> Iterator[Entry]:
    """One entry for each name of a column, with what it is in every kind of file."""
    return _columns(KINDS)


def light_columns() -> Iterator[Entry]:
    """The same for names that no file has which takes long to gather."""
    light = [kind for kind in KINDS if kind.is_light]
    return (each for each in _columns(light) if each.name not in SHARED)


def _columns(kinds: Iterable[KindOfFile]) -> Iterator[Entry]:
    places: dict[str, dict[str, list[str]]] = {}
    summaries: dict[str, str] = {}
    for kind in kinds:
        for each in columns_of(kind):
            told = f"{_kind(each)}. {_text(each)}"
            places.setdefault(each.name, {}).setdefault(told, []).append(kind.name)
            summaries.setdefault(each.name, sentence(each.meaning))
    for name, texts in places.items():
        text = definitions((f"In the {', the '.join(of)}", what) for what, of in texts.items())
        yield Entry("column", name, summaries[name], text)


@cache
def columns_of(kind: KindOfFile) -> tuple[Column, ...]:
    """The columns of a kind of file."""
    return tuple(each if isinstance(each, Column) else _declared(each) for each in kind.columns())


def _declared(field: pa.Field) -> Column:
    """A column from a field of a schema and its metadata."""
    told = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    null = "it is not known" if field.nullable else NEVER
    return Column(
        field.name, field.type, told.get("unit", ""), told.get("ucd", ""),
        told.get("description", ""), null,
    )  # fmt: skip


def _kind(column: Column) -> str:
    """The type and unit of a column: "(number, float32) [Angstrom]"."""
    if column.type == ID:
        what = "ids: whole numbers or text"
    elif pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):
        what = f"list of {_TYPES.get(str(column.type.value_type), column.type.value_type)}"
    else:
        what = f"{held(column.type)}, {_TYPES.get(str(column.type), column.type)}"
    return f"({what})" + (f" [{column.unit}]" if column.unit else "")


def _text(column: Column) -> str:
    meaning = sentence(_safe(column.meaning)) or "As its name says."
    null = "" if column.null_when == NEVER else f" Null where {_safe(column.null_when)}."
    ucd = f" UCD {code(column.ucd)}." if column.ucd else ""
    return meaning + null + ucd


def _safe(text: str) -> str:
    """A text in which nothing is taken for HTML."""
    return re.sub(r"(<\w+>)", r"`\1`", text)


def write(folder: Path) -> None:
    """Write the page of files and their columns."""
    text = page("Files and columns", ABOUT, {"": files()})
    (folder / "columns.md").write_text(text, encoding="utf-8")
