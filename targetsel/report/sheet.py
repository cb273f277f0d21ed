"""A contact sheet: many sources of a target list or scored catalog on each page of a PDF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.imaging.picture import channels, composite, draw_marks
from targetsel.imaging.store import CutoutStore
from targetsel.plots import Axes, matplotlib
from targetsel.plots import Figure as Canvas
from targetsel.report.canvas import AS_IT_IS, COLOURS, NO_DATE, STYLE, check_suffix
from targetsel.report.latents import (
    check_store,
    check_was_scored,
    ensemble_as_scored,
    latent_posterior,
)
from targetsel.scored.columns import LATENTS
from targetsel.scored.file import ScoredFile
from targetsel.scored.simulated_training import caution_in
from targetsel.scoring.ensemble import Ensemble
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import check_same_places
from targetsel.tables.columns import floats
from targetsel.tables.files import written_beside
from targetsel.tables.ids import matched
from targetsel.tasks import task

COLUMNS, ROWS = 3, 8
PER_PAGE = COLUMNS * ROWS
ROWS_AT_A_TIME = 80 * PER_PAGE  # sources in memory
N_DRAWS = 64


@dataclass(frozen=True)
class Listed:
    """Sources in the order of a sheet, and what is written beside each.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    position : tuple of two ndarrays, shape (N,)
        Their ra and dec [deg].
    words : list of N strings
    name : str
        Of the list, for errors.
    """

    source_id: np.ndarray
    position: tuple[np.ndarray, np.ndarray]
    words: list[str]
    name: str

    @classmethod
    def of(cls, targets: TargetList) -> Listed:
        """The targets of a list, with their classes and probabilities."""
        classes = classes_of(targets)
        likely = targets.table["probability"].to_pylist()
        words = [
            ", ".join(names) + ("" if p is None else f"\nP = {p:.2f}")
            for names, p in zip(classes, likely, strict=True)
        ]
        ids, ra, dec = (targets.table[name].to_numpy() for name in ("source_id", "ra", "dec"))
        return cls(ids, (ra, dec), words, str(targets.path or "the list"))


def classes_of(targets: TargetList) -> list[list[str]]:
    """The names of the classes of each target."""
    classes: list[list[str]] = [[] for _ in range(len(targets))]
    for name in targets.footer["bits"]:
        for row in np.flatnonzero(targets.of_class(name)):
            classes[row].append(name)
    return classes


def draw_sheet(
    targets: Path,
    scored: Path,
    store: CutoutStore | None,
    ensemble: Ensemble,
    output: Path,
) -> int:
    """Draw all sources of a list, in its order, as a PDF of many pages; the number of sources.

    Each has its image, id, classes, probability and expected spectrum.

    Parameters
    ----------
    targets : Path
        A target list, or `scored` itself.
    store : CutoutStore or None
        None for an ensemble that takes no cutouts.

    Raises
    ------
    CatalogError, EnsembleError, CutoutError, OutputError
    """
    from matplotlib.backends.backend_pdf import PdfPages

    check_suffix(output, (".pdf",))
    with ScoredFile(scored, ["status"]) as file:
        ensemble = ensemble_as_scored(file, ensemble)
        check_store(store, ensemble)
        check_was_scored(store, file)
        listed = None if targets == scored else Listed.of(TargetList.read(targets))
        n = len(file) if listed is None else len(listed.source_id)
        if not n:
            raise CatalogError(
                f"{targets}: has no sources, so there is nothing to draw. Name another."
            )
        foot = _foot(store, file)
        stored = (name for name in LATENTS if name in file.schema.names)
        names = [file.names["source_id"], "status", *stored]
        done = 0
        with (
            matplotlib.rc_context(STYLE),
            written_beside(output) as beside,
            PdfPages(beside, metadata=NO_DATE["pdf"]) as pages,
            task("drawing", n, "sources") as advance,
        ):
            for table, words in blocks(file, listed, names):
                for start in range(0, table.num_rows, PER_PAGE):
                    part = table.slice(start, PER_PAGE)
                    ids = part[file.names["source_id"]].to_numpy()
                    canvas = _page(part, ids, words[start : start + PER_PAGE], store, ensemble)
                    done += len(ids)
                    place = (
                        f"{done - len(ids) + 1:,} to {done:,} of {n:,} sources of {targets.name}"
                    )
                    canvas.text(
                        0.03, 0.015, f"{place}. {foot}", fontsize=7, color="0.3", **AS_IT_IS
                    )
                    pages.savefig(canvas)
                    advance(len(ids))
    return done


def blocks(
    file: ScoredFile, listed: Listed | None, names: Sequence[str], rows: int = ROWS_AT_A_TIME
) -> Iterator[tuple[pa.Table, list[str]]]:
    """Rows of the scored file in the order of a list, some at a time, with their words.

    Only the row groups that hold sources of the list are read.

    Parameters
    ----------
    file : ScoredFile
    listed : Listed or None
        None: the file's own order.
    names : sequence of str
        Columns to read.
    rows : int
        So many rows at a time, at most.

    Raises
    ------
    CatalogError
        If the file lacks a source of the list, has it more than once, or at another place.
    """
    if listed is None:
        for table in file.tables(names, rows):
            yield table, [""] * table.num_rows
        return
    places = _rows_in(file, listed)
    for start in range(0, len(places), rows):
        part = slice(start, start + rows)
        yield _rows_of(file, places[part], names), listed.words[part]


def _rows_in(file: ScoredFile, listed: Listed) -> np.ndarray:
    """The row of each source of a list in the scored file, shape (N,)."""
    if (twice := _repeats(listed.source_id)).any():
        raise CatalogError(
            f"{listed.name}: the source '{listed.source_id[twice][0]}' is there more than once. "
            "Remove the repeated rows, or select the list again."
        )
    places = np.full(len(listed.source_id), -1)
    ra, dec = (np.full(len(places), np.nan) for _ in range(2))
    first = 0
    for table in file.tables([file.names[name] for name in ("source_id", "ra", "dec")]):
        at = matched(table.column(0).to_numpy(), listed.source_id)
        rows = np.flatnonzero(at >= 0)
        again = rows[(places[at[rows]] >= 0) | _repeats(at[rows])]
        if len(again):
            raise CatalogError(
                f"{file.path}: the source '{table.column(0)[int(again[0])]}' is there more than "
                "once. Remove the repeated rows, or score the catalog again."
            )
        places[at[rows]] = first + rows
        ra[at[rows]], dec[at[rows]] = (floats(table.column(k))[rows] for k in (1, 2))
        first += table.num_rows
    if (places < 0).any():
        raise CatalogError(
            f"{file.path}: has no source '{listed.source_id[places < 0][0]}' of the list, and "
            f"lacks {int((places < 0).sum()):,} of its {len(places):,}. Name the scored catalog "
            "that the list was selected from with --scored."
        )
    check_same_places(listed.source_id, listed.position, (ra, dec), listed.name, file.path)
    return places


def _repeats(values: np.ndarray) -> np.ndarray:
    """Whether each value was there before, shape (N,)."""
    again = np.ones(len(values), dtype=bool)
    again[np.unique(values, return_index=True)[1]] = False
    return again


def _rows_of(file: ScoredFile, places: np.ndarray, names: Sequence[str]) -> pa.Table:
    """Rows of the scored file, in this order."""
    ends = np.cumsum(file.group_sizes)
    group = np.searchsorted(ends, places, side="right")
    found, order = [], []
    for each in np.unique(group):
        mine = np.flatnonzero(group == each)
        start = ends[each] - file.group_sizes[each]
        table = file.read(names, [int(each)])
        found.append(table.take(pa.array(places[mine] - start)))
        order.append(mine)
    return pa.concat_tables(found).take(pa.array(np.argsort(np.concatenate(order))))


def _page(
    table: pa.Table,
    ids: np.ndarray,
    words: list[str],
    store: CutoutStore | None,
    ensemble: Ensemble,
) -> Canvas:
    canvas = Canvas(figsize=(8.27, 11.69))
    cutouts = None if store is None else store.read(ids)
    pictures = None if cutouts is None else composite(cutouts)
    posterior = latent_posterior(table, ids, cutouts, ensemble)
    spectra = ensemble.decoder.decode(posterior.draw(N_DRAWS), ids)
    low, middle, high = np.quantile(spectra.flux, (0.16, 0.5, 0.84), axis=1)
    for k, source_id in enumerate(ids):
        row, column = divmod(k, COLUMNS)
        left, bottom = 0.03 + 0.325 * column, 0.985 - 0.117 * (row + 1)
        image = canvas.add_axes((left, bottom + 0.017, 0.13, 0.092))
        image.set_axis_off()
        if cutouts is not None and pictures is not None and cutouts.present[k]:
            image.imshow(pictures[k], origin="lower", interpolation="nearest")
            draw_marks(image, cutouts, k, fontsize=5)
        else:
            image.text(0.5, 0.5, "no cutout", ha="center", fontsize=7)
        canvas.text(
            left + 0.14,
            bottom + 0.108,
            f"{source_id}\n{words[k]}",
            va="top",
            fontsize=7,
            **AS_IT_IS,
        )
        if table["status"][k].as_py() == "ok" and posterior.known[k]:
            panel = canvas.add_axes((left + 0.14, bottom + 0.017, 0.165, 0.052))
            _thumbnail(panel, spectra.wavelength, low[k], middle[k], high[k])
        else:
            reason = f"no prediction:\n{table['status'][k].as_py()}"
            canvas.text(left + 0.14, bottom + 0.04, reason, fontsize=7, color=COLOURS[1])
    return canvas


def _thumbnail(
    panel: Axes, wavelength: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray
) -> None:
    level = np.median(middle)
    panel.fill_between(wavelength, low / level, high / level, color=COLOURS[0], alpha=0.3, lw=0)
    panel.plot(wavelength, middle / level, color=COLOURS[0], lw=0.6)
    top = 1.05 * np.quantile(middle / level, 0.999)
    panel.set(xlim=(wavelength[0], wavelength[-1]), ylim=(0, top))
    panel.set(yticks=[], xticks=[4000, 5000, 6000, 7000, 8000])
    panel.tick_params(labelsize=5.5, length=2, pad=1)


def _foot(store: CutoutStore | None, file: ScoredFile) -> str:
    channels_of = {} if store is None else channels(store.bands)
    bands = ", ".join(f"{colour} {bands}" for colour, bands in channels_of.items())
    simulated = " The images are simulated." if store is not None and store.simulated else ""
    caution = caution_in(file.footer)
    return f"{bands}{'; ' if bands else ''}rest-frame wavelength in Å.{simulated}" + (
        f"\nCaution: {caution}." if caution else ""
    )
