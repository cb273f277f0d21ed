"""What would become of sources if they were fainter, or their images blurrier or noisier.

Each source's cutout is changed step by step, scored by the ensemble that scored the catalog, and
judged by the conditions of each class. What compares sources with one another (``dedup``, ``limit``
and its ``rank``) and ``sample`` are left out: a step is about the conditions alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, CutoutError, EnsembleError
from targetsel.imaging.store import Described
from targetsel.injection.brightness import brightness_names, with_brightness_of
from targetsel.injection.columns import (
    CARRIED,
    ORIGINAL,
    PROBABILITY,
    SELECTED,
    injected_columns,
)
from targetsel.injection.images import changed, check_blur
from targetsel.injection.sources import Chosen
from targetsel.injection.steps import UNCHANGED, ImageStep
from targetsel.networks.inputs import InputsById
from targetsel.photometry.columns import unit_said
from targetsel.photometry.flux import MAGNITUDES, NANOMAGGY_ZERO_POINT
from targetsel.report.photometry import BinnedBy, band_magnitude
from targetsel.rules.plan import ClassFormulas, plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import scored_columns
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions, score_inputs
from targetsel.selection.evaluation import all_hold, probability
from targetsel.selection.sources import Sources, columns_read
from targetsel.sky.catalog import HEALPIX, Catalog
from targetsel.surveys.card import SurveyCard
from targetsel.tables.columns import ID, in_one_piece
from targetsel.tasks import task
from targetsel.workers.pool import map_bounded

AT_ONCE = 64  # sources whose images are in memory


@dataclass(frozen=True)
class Judge:
    """How sources are scored and judged.

    Attributes
    ----------
    ensemble : Ensemble
    options : ScoreOptions
    images : InputsById
    classes : tuple of ClassFormulas
        Bound to the columns of scored rows.
    seed : int
        Of the noise that is added.
    sky : ndarray, shape (B,), or None
        Light of the sky in a pixel of the store's bands [nanomaggy], where it is known.
    place : Path or str
        The catalog, for errors.
    moved, stay : tuple of str
        Columns of the catalog that the classes read: those of brightness, which change with a
        step, and the others.
    in_magnitudes : tuple of str
        Those of the others that are in magnitudes: colours, or magnitudes of unknown bands.
    """

    ensemble: Ensemble
    options: ScoreOptions
    images: InputsById
    classes: tuple[ClassFormulas, ...]
    seed: int
    sky: np.ndarray | None
    place: object
    moved: tuple[str, ...]
    stay: tuple[str, ...]
    in_magnitudes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        chosen: Chosen,
        rules: Rules,
        names: Sequence[str],
        ensemble: Ensemble,
        images: InputsById,
        seed: int,
        survey: SurveyCard | None = None,
    ) -> Judge:
        """How a file's sources were scored, with some classes of the rules; all, without names.

        Raises
        ------
        EnsembleError
            If the ensemble is another one than the file's, or takes more than cutouts.
        RuleError
            If there is no such class, the rules do not fit the catalog, or a class has a guarantee.
        CatalogError
            If a class reads a column that came after the predictions.
        """
        if ensemble.inputs.cutouts is None or ensemble.inputs.vectors is not None:
            raise EnsembleError(
                f"the ensemble '{ensemble.name}' takes {ensemble.inputs.described}; expected one "
                "of cutouts alone, as nobody knows the embedding of a changed image. Name such an "
                "ensemble, and the catalog that it scored."
            )
        ensemble = chosen.ensemble_as_it_scored(ensemble)
        ensemble.inputs.check(images, ensemble.name)
        wanted = {rules[name].name for name in names} or {each.name for each in rules.classes}
        for each in rules.classes:
            if each.name in wanted and each.guarantee is not None:
                raise each.place_of("guarantee").error(
                    f"class {each.name} has a guarantee, whose threshold depends on the list; "
                    "write the threshold that 'targetsel select' told as a condition, such as "
                    "P(...) > 0.83, in a copy of the rules"
                )
        nobody = with_brightness_of(chosen.catalog.table.slice(0, 0), UNCHANGED)
        empty = Catalog(nobody, chosen.catalog.columns)
        inputs = ensemble.inputs.nobody(empty.source_id)
        schema = score_inputs(empty, inputs, ensemble).schema
        classes = _bound(chosen, rules, wanted, schema)
        read = set().union(*(columns_read(f, schema) for each in classes for f in each.all))
        redshift = ensemble.predicts_redshift
        read -= {each.name for each in scored_columns(1, 1, redshift)} - {*nobody.column_names}
        read -= {*chosen.catalog.columns.values(), HEALPIX.name}
        of_brightness = {*brightness_names(nobody.schema)}
        own = [each for each in nobody.column_names if each in read]
        stay = tuple(each for each in own if each not in of_brightness)
        said = {name: unit_said(nobody.schema.field(name)) for name in stay}
        return cls(
            ensemble,
            _options(chosen),
            images,
            classes,
            seed,
            None if survey is None else sky_of(survey, images.cutouts),
            chosen.place,
            tuple(each for each in own if each in of_brightness),
            stay,
            tuple(name for name in stay if said[name] in MAGNITUDES),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(each.name for each in self.classes)

    def rows(self, catalog: Catalog, steps: Sequence[ImageStep]) -> pa.Table:
        """The rows of some sources after each step: those of a source follow one another."""
        whole = self.images.seen(catalog, self.ensemble.inputs, str(self.place))
        assert whole.cutouts is not None
        layout = self.images.cutouts.layout
        tables = []
        for step in steps:
            cutouts = changed(whole.cutouts, step, np.array(layout.sky_sigma), self.seed, self.sky)
            table = with_brightness_of(catalog.table, step)
            inputs = replace(whole, cutouts=cutouts)
            scored = score_inputs(
                replace(catalog, table=table), inputs, self.ensemble, self.options
            )
            if step == steps[0]:
                original = magnitude_of(scored).values
            tables.append(self._judged(scored, catalog, step, original))
        order = np.arange(len(catalog) * len(steps)).reshape(len(steps), -1).T.ravel()
        return pa.concat_tables(tables).take(pa.array(order)).combine_chunks()

    def _judged(
        self, scored: pa.Table, catalog: Catalog, step: ImageStep, original: np.ndarray
    ) -> pa.Table:
        n, sources = len(catalog), Sources(scored.combine_chunks())
        values: dict[str, pa.Array] = {
            "source_id": in_one_piece(scored[catalog.columns["source_id"]]),
            **{axis: pa.array(np.full(n, getattr(step, axis))) for axis in ("dim", "blur")},
            "noisier": pa.array(np.full(n, step.noisier)),
            ORIGINAL: pa.array(original, from_pandas=True),
            **{name: in_one_piece(scored[name]) for name in CARRIED},
        }
        for each in self.classes:
            held = np.broadcast_to(all_hold(each.where, sources), n)
            values[SELECTED + each.name] = pa.array(held)
            likely = np.ones(n) if each.truth is None else probability(each.truth, sources)
            values[PROBABILITY + each.name] = pa.array(
                np.asarray(likely, dtype=np.float32), from_pandas=True
            )
        fields = [
            each.field.with_type(values[each.name].type) if each.type == ID else each.field
            for each in injected_columns(self.names)
        ]
        return pa.table([values[each.name] for each in fields], schema=pa.schema(fields))


def changed_rows(
    chosen: Chosen, judge: Judge, steps: Sequence[ImageStep], threads: int = 1
) -> Iterator[pa.Table]:
    """The rows of all chosen sources after each step, some sources at a time, in their order.

    Neither the threads nor the other sources change a bit of a row.

    Parameters
    ----------
    steps : sequence of ImageStep
        The first leaves everything as it is.
    """
    import torch

    plan_of = judge.ensemble.inputs.cutouts
    assert plan_of is not None
    for step in steps:
        check_blur(step, plan_of.pixel_scale, plan_of.size)
    pieces = [chosen.catalog.take(slice(k, k + AT_ONCE)) for k in range(0, len(chosen), AT_ONCE)]
    torch.set_num_threads(1)
    found = map_bounded(
        partial(judge.rows, steps=steps),
        pieces,
        threads,
        initializer=torch.set_num_threads,
        initargs=(1,),
    )
    with task("changing images", len(chosen), "sources") as advance:
        for table in found:
            yield table
            advance(table.num_rows // len(steps))


def sky_of(survey: SurveyCard, store: Described) -> np.ndarray:
    """Light of a survey's sky in a pixel of each band of a store [nanomaggy], shape (B,).

    Raises
    ------
    CutoutError
        If the survey does not have a band of the store.
    """
    known = dict(zip(survey.band_names, survey.column("sky"), strict=True))
    missing = [band for band in store.layout.bands if band not in known]
    if missing:
        raise CutoutError(
            f"--survey {survey.name}: has the bands {', '.join(known)}, but {store.path} has "
            f"{', '.join(missing)}, too. Name the survey of these images, or leave --survey out."
        )
    magnitude = np.array([known[band] for band in store.layout.bands])
    return 10 ** (-0.4 * (magnitude - NANOMAGGY_ZERO_POINT)) * store.layout.pixel_scale**2


def magnitude_of(scored: pa.Table) -> BinnedBy:
    """The magnitude by which sources are binned: in r, or else on the cutout."""
    found = band_magnitude(scored)
    if found is not None:
        return found
    return BinnedBy("magnitude on the cutout", "mag", np.full(len(scored), np.nan))


def _options(chosen: Chosen) -> ScoreOptions:
    """The options that the file was scored with, as far as it says."""
    told = chosen.footer.get("options")
    told = told if isinstance(told, dict) and not chosen.is_list else {}
    known = {key: each for key, each in told.items() if key in ("seed", "n_draws", "slim")}
    return ScoreOptions(**known)


def _bound(
    chosen: Chosen, rules: Rules, wanted: set[str], schema: pa.Schema
) -> tuple[ClassFormulas, ...]:
    """The classes bound to the columns of scored rows, without those conditions that thin out."""
    added = [each for each in chosen.added if each.name not in schema.names]
    whole = pa.schema([*schema, *added], schema.metadata)
    bound = plan(rules, whole)
    if bound.quantiles:
        if chosen.quantiles is None:
            text = next(iter(bound.quantiles.values()))
            raise CatalogError(
                f"{chosen.place}: {rules.name} asks for {text} over all sources, which a target "
                "list does not have. Give the scored catalog that the list was selected from."
            )
        bound = bound.with_values(dict(zip(bound.quantiles, chosen.quantiles, strict=True)))
    classes = []
    for each in bound.classes:
        if each.name not in wanted:
            continue
        for formula in each.all:
            for name in sorted(columns_read(formula, whole) & {field.name for field in added}):
                raise CatalogError(
                    f"{chosen.place}: {each.name} reads the column '{name}', which was added after "
                    "the catalog was scored, so that it may depend on the image. Leave the "
                    "condition out, or add the column to the catalog before it is scored."
                )
        kept = tuple(one for one in each.conditions if one.step != "sample")
        classes.append(replace(each, conditions=kept))
    return tuple(classes)
