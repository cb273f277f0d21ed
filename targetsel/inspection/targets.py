"""What a page of inspection shows of each target, as plain values for its data files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CutoutError
from targetsel.imaging.store import CutoutStore
from targetsel.inspection.alike import AlikeSources
from targetsel.inspection.cutouts import pictures
from targetsel.inspection.listing import redshifts_of, rounded
from targetsel.inspection.spectra import MeasuredFlux, packed, predicted
from targetsel.networks.posterior import LatentPosterior
from targetsel.report.latents import latent_posterior
from targetsel.report.source import place_of
from targetsel.rules.plan import ClassFormulas
from targetsel.scored.file import ScoredFile
from targetsel.scoring.ensemble import Ensemble
from targetsel.selection.reports.explain import Explanation, explanation, unpredicted
from targetsel.selection.sources import Sources
from targetsel.sky.positions import check_same_places
from targetsel.spectra.lines import SYMBOLS, in_symbols
from targetsel.spectra.proxies import proxy_names
from targetsel.tables.columns import unit_of

TRUST = (
    "typicality", "typicality_reason", "typicality_features", "typicality_image", "support",
    "epistemic",
)  # fmt: skip
OUTCOMES = {"true": 1, "false": 0, "missing": -1}


@dataclass
class Texts:
    """Texts that many targets share, each written once to a data file."""

    known: dict[str, int] = field(default_factory=dict)

    def place(self, text: str) -> int:
        return self.known.setdefault(text, len(self.known))


@dataclass(frozen=True)
class ShownTargets:
    """Where what is shown of targets comes from.

    Attributes
    ----------
    file : ScoredFile
    ensemble : Ensemble
        As it scored the file.
    store : CutoutStore or None
        None: no pictures.
    classes : sequence of ClassFormulas
        Their conditions tell why.
    listed : collection of str
        The names of the classes of the target list; empty without a list.
    measured : mapping of str to MeasuredFlux
        By id.
    alike : AlikeSources or None
        Labelled sources, of which the most alike are shown.
    """

    file: ScoredFile
    ensemble: Ensemble
    store: CutoutStore | None = None
    classes: Sequence[ClassFormulas] = ()
    listed: Collection[str] = ()
    measured: Mapping[str, MeasuredFlux] = field(default_factory=dict)
    alike: AlikeSources | None = None

    def records(self, table: pa.Table, members: Sequence[Sequence[str]] | None) -> dict[str, Any]:
        """The data of one page: its targets in their order, and what they share.

        Parameters
        ----------
        table : pa.Table, N rows
            All columns of the scored file.
        members : sequence of N sequences of str, or None
            The classes of a target list that each is in; None without a list.
        """
        ids = table[self.file.names["source_id"]].to_numpy()
        cutouts = None if self.store is None else self.store.read(ids)
        if cutouts is not None and not cutouts.present.any() and self._were_seen(table):
            raise CutoutError(
                f"{self.store and self.store.path}: has none of the sources from '{ids[0]}' on. "
                "Name the store that was scored."
            )
        ra, dec = (table[self.file.names[name]].to_numpy() for name in ("ra", "dec"))
        if self.store is not None and cutouts is not None and cutouts.position is not None:
            seen = cutouts.present
            ours, theirs = (ra[seen], dec[seen]), tuple(each[seen] for each in cutouts.position)
            place, other = self.file.path, self.store.path
            check_same_places(ids[seen], ours, (theirs[0], theirs[1]), place, other, CutoutError)
        images = pictures(cutouts) if cutouts is not None else [{}] * len(ids)
        posterior = latent_posterior(table, ids, cutouts, self.ensemble)
        spectra = self._predicted(table, posterior)
        redshift, redshift_from = redshifts_of(table)
        texts = Texts()
        alike: list[list[list[Any]]] | None = None
        sources: list[dict[str, Any]] = []
        if self.alike is not None:
            names = proxy_names(self.file.schema)
            alike, sources = self.alike.records(posterior, [*map(str, ids)], (ra, dec), names)
        targets = []
        for row, source_id in enumerate(map(str, ids)):
            one = table.slice(row, 1)
            measured = self.measured.get(source_id)
            flux = spectra.get(row)
            targets.append(
                {
                    "id": source_id,
                    "place": place_of(float(ra[row]), float(dec[row])),
                    **images[row],
                    "z": rounded(redshift[row]),
                    "z_from": redshift_from if np.isfinite(redshift[row]) else "",
                    "said": unpredicted(Sources(one)),
                    "predicted": None if flux is None else packed(flux),
                    "measured": measured and measured.beside(None if flux is None else flux[1]),
                    "lines": list(_strengths(one)),
                    "trust": [_plain(one, name) for name in TRUST],
                    **({} if alike is None else {"alike": alike[row]}),
                    "why": list(self._why(one, None if members is None else members[row], texts)),
                }
            )
        shared = {} if alike is None else {"sources": sources}
        return {"targets": targets, "texts": list(texts.known), **shared}

    def _were_seen(self, table: pa.Table) -> bool:
        """Whether any of these sources had a cutout when it was scored."""
        return any(each == "ok" for each in table["status"].to_pylist())

    def _predicted(self, table: pa.Table, posterior: LatentPosterior) -> dict[int, np.ndarray]:
        """Percentiles of the predicted flux, shape (3, L), by row, of sources that have one."""
        ok = np.array([each == "ok" for each in table["status"].to_pylist()], dtype=bool)
        rows = np.flatnonzero(ok & posterior.known)
        flux = predicted(posterior, self.ensemble.decoder)
        return {int(row): flux[row] for row in rows}

    def _why(
        self, one: pa.Table, member_of: Sequence[str] | None, texts: Texts
    ) -> Iterator[dict[str, Any]]:
        source = Sources(one)
        for each in self.classes:
            found = explanation(each, source)
            is_of_list = found.name in self.listed  # rules in place of the list's have others
            yield {
                "class": found.name,
                "selected": _verdict(found, member_of if is_of_list else None),
                "p": rounded(found.probability, 3),
                "rows": [
                    [
                        row.depth,
                        texts.place(in_symbols(row.text)),
                        OUTCOMES[row.outcome],
                        row.value if isinstance(row.value, str) else rounded(row.value, 4),
                        row.threshold
                        if isinstance(row.threshold, str)
                        else rounded(row.threshold, 4),
                        rounded(row.margin, 3),
                        rounded(row.probability, 3),
                    ]
                    for row in found.rows
                ],
            }


def _verdict(found: Explanation, member_of: Sequence[str] | None) -> str:
    if member_of is None:
        return "obeys every condition" if found.passed else "kept out"
    if found.name in member_of:
        return "selected" if found.passed else "selected, though a condition is not true here"
    return "obeys every condition, but dedup or limit left it out" if found.passed else "kept out"


def line_headings(schema: pa.Schema) -> list[dict[str, str]]:
    """The names and units of line strengths, in the order in which targets have their values."""
    return [
        {
            "name": name,
            "symbol": SYMBOLS.get(name, name),
            "unit": in_symbols(unit_of(schema.field(name))),
        }
        for name in proxy_names(schema)
    ]


def _strengths(one: pa.Table) -> Iterator[list[float | None]]:
    """Median and ends of the 68 % interval of every line strength."""
    for name in proxy_names(one.schema):
        yield [rounded(one[name + end][0].as_py(), 4) for end in ("_q16", "", "_q84")]


def _plain(one: pa.Table, name: str) -> Any:
    value = one[name][0].as_py() if name in one.column_names else None
    return rounded(value, 4) if isinstance(value, float) else value


def paths_of_spectra(spectra: Sequence[Path]) -> list[Path]:
    """Files of spectra, where folders stand for the files in them, in the order of their names."""
    found: list[Path] = []
    for path in spectra:
        is_folder = path.is_dir()
        found += sorted(each for each in path.iterdir() if each.is_file()) if is_folder else [path]
    return found
