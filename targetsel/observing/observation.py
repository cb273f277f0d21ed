"""Observation of a scored catalog: the columns that `targetsel observe` adds to it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.documents.models import parse_quantity
from targetsel.errors import SpectrographError
from targetsel.nights.night import GivenNights
from targetsel.nights.sites import Site
from targetsel.nights.visibility import AIRMASS, COLUMNS, Visibility
from targetsel.observing.derived import DerivedPosterior, between, correlated_scores, draws
from targetsel.observing.redshift import Redshift, of_each
from targetsel.redshifts.joining import JoinedRedshifts
from targetsel.scored.columns import (
    NOT_NEEDED,
    SUMMARIES,
    column_names,
    not_needed,
    posterior_columns,
)
from targetsel.scored.file import ScoredFile
from targetsel.scored.slim import compression
from targetsel.selection.sources import Sources
from targetsel.spectra.apertures import aperture_in, are_alike
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import (
    CORRELATION,
    NORMAL_SCORES,
    QUANTILES,
    ProxyPosterior,
    proxy_names,
)
from targetsel.spectrographs.continuum import Magnitudes
from targetsel.spectrographs.following import CONTINUUM, NOTE, REDDENING, Following
from targetsel.spectrographs.lines import (
    OBSERVED_UNITS,
    QUANTITIES,
    Line,
    ObservedLine,
    chosen_lines,
)
from targetsel.spectrographs.spectrograph import LONGEST, Exposure, Spectrograph, share_in_fiber
from targetsel.tables.any_form import AnyTable, paths_in
from targetsel.tables.columns import NEVER, Column, arrow_column, floats, schema_of
from targetsel.tables.files import check_table_output
from targetsel.tables.parquet import ParquetSink
from targetsel.tasks import tracked

STATUS = "observed_status"
_PERCENTILES = tuple(each for each in SUMMARIES if each[3] is not None)
_UCDS = {
    "lineflux": "phot.flux;spect.line",
    "snr": "stat.snr;spect.line",
    "exposure_time": "time.duration;obs.exposure",
}
UNKNOWN = "the source is in trouble (see observed_status)"
ROWS, ROWS_OF_DRAWS = 8192, 128
REDDENINGS = (-1.0, 10.0)  # [mag] E(B-V); beyond are magnitudes and extinctions
LARGEST_RADIUS = 3600.0  # [arcsec]; beyond are codes such as 9999 and 1e20


def half_light_radius(text: str, name: str = "--size") -> str | float:
    """A column's name as it is, or a half-light radius [arcsec] such as 1.5arcsec.

    Raises
    ------
    SpectrographError
        If it begins as a number and is no radius of 0 to 60 arcsec; `name` is what was asked for.
    """
    if not re.match(r"[-+.]?\d", text):
        return text
    try:
        radius = parse_quantity(text, "arcsec", bare=False)
    except ValueError as error:
        raise SpectrographError(
            f"{name} is {error}, such as 1.5arcsec, or the name of a column."
        ) from None
    if not 0 <= radius <= 60:
        raise SpectrographError(f"{name} is {radius:g} arcsec; expected 0 to 60 arcsec.")
    return radius


def _radius(size: str | float | None, in_fiber: bool) -> str | float:
    """A column's name, or a half-light radius [arcsec]."""
    if in_fiber and size:
        raise SpectrographError(f"--size {size}: not used with --in-fiber. Leave one out.")
    if in_fiber:
        return 0.0
    if size is None or size == "":
        raise SpectrographError(
            "--size is missing: how much light a fiber takes depends on it. Give a column of "
            "half-light radii [arcsec], one radius such as 1.5arcsec, or 0arcsec for points; or "
            "magnitudes within a fiber with --in-fiber."
        )
    return half_light_radius(size) if isinstance(size, str) else float(size)


@dataclass(frozen=True)
class Observation:
    """Settings of an observation of a scored catalog.

    Attributes
    ----------
    lines : tuple of Line
    size : str or float
        Half-light radius: a column, or [arcsec] of all sources. Not used for magnitudes that are
        of the light within a fiber.
    reddening : str
        Column of E(B-V) on the scale of Schlegel et al. (1998); empty: no dust.
    visibility : Visibility or None
        The site and nights for which sources are asked to be up, if any.
    """

    exposure: Exposure
    lines: tuple[Line, ...]
    redshift: Redshift
    magnitudes: Magnitudes
    size: str | float = 0.0
    reddening: str = ""
    visibility: Visibility | None = None

    @classmethod
    def of(
        cls,
        scored: AnyTable,
        size: str | float | None = None,
        *,
        spectrograph: str = "desi",
        lines: Iterable[str] = (),
        exposure: str | None = None,
        snr: float = 5.0,
        brightness: Sequence[str] = (),
        in_fiber: bool = False,
        redshift: str = "",
        redshift_error: str = "",
        redshift_grid: str | None = None,
        reddening: str = "",
        dereddened: bool = False,
        site: str | Site | None = None,
        night: GivenNights | None = None,
        airmass: float = AIRMASS,
        horizon: float = 0.0,
        twilight: str = "astronomical",
        beside: Path | None = None,
    ) -> Observation:
        """The observation of a scored catalog, from the words of `targetsel observe`.

        A file about its brightness may lie beside it; for a part of a larger catalog `beside` that.

        Raises
        ------
        SpectrographError, CatalogError
            If a spectrograph, a line, a column or a quantity is not known.
        VisibilityError
            If a site, a night or a limit cannot be understood, or it does not get dark.
        """
        radius = _radius(size, in_fiber)
        up = Visibility.asked(site, night, airmass=airmass, horizon=horizon, twilight=twilight)
        asked = Exposure.asked(Spectrograph.find(spectrograph), exposure, snr)
        with ScoredFile(scored) as file:
            catalog = beside or next(iter(paths_in([scored])), None)
            magnitudes = Magnitudes.find(file.schema, brightness, in_fiber, dereddened, catalog)
            at = Redshift.of(file.schema, redshift, redshift_error, redshift_grid)
        return cls(asked, chosen_lines(lines), at, magnitudes, radius, reddening, up)

    def check(self, schema: pa.Schema) -> None:
        """Refuse a catalog that lacks columns, or has those to be written.

        Raises
        ------
        SpectrographError
            If a column that is needed is missing, or one that would be written is there.
        """
        self.redshift.check(schema)
        nobody = schema.empty_table()
        self._reddening(nobody)
        self._share(nobody)
        proxies = proxy_names(schema)
        for line in self.lines:
            if line.proxy not in proxies:
                raise SpectrographError(
                    f"no posterior of '{line.proxy}' in this file. Score the catalog first "
                    "with 'targetsel score'."
                )
        for column in self.added(proxies):
            if column.name in schema.names:
                raise SpectrographError(
                    f"already has a column '{column.name}'. Rename or drop it, or observe the "
                    "scored catalog as it was."
                )

    def added(self, proxies: tuple[str, ...]) -> list[Column]:
        """The columns that are added to a file with posteriors of these proxies."""
        found = observed_columns(self.exposure, self.lines, proxies)
        if self.redshift.predicted:
            centres = tuple(map(float, self.magnitudes.centres))
            found += followed_columns(Following(self.exposure, self.lines, centres))
        return [*found, *(COLUMNS if self.visibility is not None else ())]

    def check_columns(self, file: ScoredFile) -> None:
        """`check` of a scored file, which errors name."""
        with naming(file.path):
            self.check(file.schema)

    def columns(self, piece: pa.Table) -> dict[str, Any]:
        """The columns of N sources, by name; arrays of N rows, NaN where unknown."""
        posterior = Sources(piece).posterior
        normals, scores = self._scores(posterior)
        redshift, troubles = self.redshift.draw(piece, normals)
        flux = self.magnitudes.flux(piece)
        reddening, share = self._reddening(piece), self._share(piece)
        known = [np.isfinite(posterior.knots(line.proxy)).all(axis=1) for line in self.lines]
        for why, there in (
            (NOT_NEEDED, ~not_needed(piece)),
            ("no size", np.isfinite(share)),
            ("no E(B-V)", np.isfinite(reddening)),
            ("no magnitude", np.isfinite(flux).any(axis=1)),
            ("no prediction", np.any(known, axis=0) & np.isfinite(redshift).all(axis=1)),
        ):
            troubles[~there & (troubles == "")] = why
        columns: dict[str, Any] = {}
        derived: list[DerivedPosterior] = []
        for line, own in zip(self.lines, scores, strict=True):
            at = line.wavelength * (1 + redshift)
            continuum = self.magnitudes.continuum(flux, at, reddening)
            seen = ObservedLine(line, redshift, continuum * share[:, None])
            columns |= self._place(seen)
            derived += self._derived(seen, posterior, own, normals)
        columns |= _posterior_columns(derived, posterior)
        if self.redshift.predicted:
            light = self.magnitudes.corrected(flux, reddening) * share[:, None]
            columns |= {CONTINUUM: light, REDDENING: reddening}
        columns[STATUS] = np.where(troubles == "", "ok", troubles)
        if self.visibility is not None:
            own = column_names(piece.schema)
            position = (floats(piece[own[role]]) for role in ("ra", "dec"))
            up = self.visibility.columns(*position)
            columns |= dict(zip(up.column_names, up.columns, strict=True))
        return columns

    def _scores(self, posterior: ProxyPosterior) -> tuple[np.ndarray, np.ndarray]:
        """Normal scores of draws of the redshift, shape (S,), and of each line's width, (K, S).

        At a predicted redshift they are those of each source, (N, S) and (K, N, S), and go together
        as rules have it in P().
        """
        normals, scores = draws(len(self.lines))
        if not self.redshift.predicted:
            return normals, scores
        proxies = tuple(line.proxy for line in self.lines)
        if posterior.copula is not None:
            found = posterior.draw_scores((*proxies, PHOTOZ))
            return found[PHOTOZ], np.stack([found[each] for each in proxies])
        of_lines = [
            correlated_scores(own, normals, between(proxy, PHOTOZ, posterior))
            for proxy, own in zip(proxies, scores, strict=True)
        ]
        return np.tile(normals, (len(posterior), 1)), np.stack(of_lines)

    def _reddening(self, piece: pa.Table) -> np.ndarray:
        """E(B-V) [mag], shape (N,)."""
        values = of_each(piece, self.reddening or 0.0, "--ebv", "mag")
        low, high = REDDENINGS
        if (wrong := (values < low) | (values > high)).any():
            raise SpectrographError(
                f"column '{self.reddening}' has {values[wrong][0]:g} mag; expected E(B-V) from "
                f"{low:g} to {high:g} mag. Name another column by --ebv, or set it to null there."
            )
        return values

    def _share(self, piece: pa.Table) -> np.ndarray:
        """Share of the light of the magnitudes that enters the fiber, shape (N,)."""
        if self.magnitudes.in_fiber:
            return np.ones(piece.num_rows)
        radius = of_each(piece, self.size, "--size", "arcsec")
        radius = np.where((radius >= 0) & (radius < LARGEST_RADIUS), radius, np.nan)
        spectrograph = self.exposure.spectrograph
        return share_in_fiber(radius, spectrograph.aperture, spectrograph.seeing)

    def _place(self, seen: ObservedLine) -> dict[str, np.ndarray]:
        name, spectrograph = seen.line.name, self.exposure.spectrograph
        return {
            f"wavelength_{name}": np.median(seen.wavelength, axis=1),
            f"in_range_{name}": seen.in_range(spectrograph).mean(axis=1),
            f"clear_of_sky_{name}": _mean_of_known(seen.clear_of_sky(spectrograph)),
        }

    def _derived(
        self,
        seen: ObservedLine,
        posterior: ProxyPosterior,
        scores: np.ndarray,
        of_redshift: np.ndarray,
    ) -> Iterator[DerivedPosterior]:
        """Quantities of a line at the `scores` of its width and of the redshift."""
        proxy = seen.line.proxy
        knots = np.asarray(posterior.knots(proxy), dtype=np.float64)
        if self.redshift.is_certain:
            width = knots
        elif self.redshift.predicted:
            width = posterior.value(proxy, scores)
        else:
            width = posterior.value(proxy, np.tile(scores, (len(knots), 1)))
        for quantity, values in seen.quantities(width, self.exposure).items():
            name = f"{quantity}_{seen.line.name}"
            if self.redshift.is_certain:
                yield DerivedPosterior.monotone(name, proxy, values)
            elif self.redshift.predicted:
                yield DerivedPosterior.drawn_with(name, proxy, values, scores, of_redshift)
            else:
                yield DerivedPosterior.drawn(name, proxy, values, scores)


@dataclass(frozen=True)
class ObservedRun:
    """The counts of a run of `write_observed`.

    Attributes
    ----------
    statuses : Counter of str
        Number of sources by status.
    continuum : tuple of str
        Columns of brightness that the continuum is from.
    exposure : Exposure
    predicted : bool
        Whether redshifts are those that the ensemble predicts.
    caution : str
        What to know where line strengths are of another fiber than the spectrograph's; else empty.
    joined : JoinedRedshifts or None
    nights : tuple of str
        When it is dark, and what to be careful about, where a site and nights were given.
    """

    statuses: Counter[str]
    continuum: tuple[str, ...]
    exposure: Exposure
    predicted: bool = False
    caution: str = ""
    joined: JoinedRedshifts | None = None
    nights: tuple[str, ...] = ()


def write_observed(scored: AnyTable, observation: Observation, output: Path) -> ObservedRun:
    """Write a scored catalog with the observation's columns added.

    Raises
    ------
    SpectrographError, CatalogError, OutputError
        Nothing is written then.
    """
    check_table_output(output, paths_in([scored]))
    statuses: Counter[str] = Counter()
    rows = ROWS if observation.redshift.is_certain else ROWS_OF_DRAWS
    with ScoredFile(scored) as file, naming(file.path):
        observation.check(file.schema)
        if observation.redshift.grid is not None:
            densities = file.tables([str(observation.redshift.value)])
            observation.redshift.check_densities(densities)
        added = observation.added(proxy_names(file.schema))
        schema = pa.schema([*file.schema, *schema_of(added)])
        with ParquetSink(output, schema, compression=compression(file.footer)) as sink:
            sink.footer.update(file.footer, observed=provenance_of(observation))
            pieces = file.tables(rows=rows)
            for piece in tracked(pieces, "observing", len(file), "sources", len):
                found = observation.columns(piece)
                statuses.update(found[STATUS].tolist())
                for each in added:
                    values = found[each.name]
                    if isinstance(values, np.ndarray):
                        values = arrow_column(values, each.type)
                    piece = piece.append_column(each.field, values)
                sink.write(piece)
    names = tuple(each.name for each in observation.magnitudes.columns)
    caution = caution_about(aperture_in(file.footer), observation.exposure.spectrograph)
    predicted = observation.redshift.predicted
    nights = () if observation.visibility is None else tuple(observation.visibility.remarks())
    return ObservedRun(*(statuses, names, observation.exposure, predicted, caution), nights=nights)


def caution_about(aperture: float | None, spectrograph: Spectrograph) -> str:
    """The sentence for line strengths of the light in one fiber and a spectrograph with another.

    Empty if both fibers are alike, or the aperture [arcsec] is not stated.
    """
    own = spectrograph.aperture
    if aperture is None or are_alike(aperture, own):
        return ""
    return (
        f"line strengths are of the light in a fiber of {aperture:g} arcsec, and count as the "
        f"same in that of {spectrograph.name}, {own:g} arcsec; the continuum is of its own"
    )


@contextmanager
def naming(scored: Path | str) -> Iterator[None]:
    """Name the file in errors about its columns."""
    try:
        yield
    except SpectrographError as error:
        raise SpectrographError(f"{scored}: {error}") from None


def observed_columns(
    exposure: Exposure, lines: tuple[Line, ...], proxies: tuple[str, ...]
) -> list[Column]:
    """Columns that are added to a file with posteriors of these proxies, in their order."""
    before, columns, f32 = list(proxies), [], pa.float32()
    for line in lines:
        name = line.name
        where = f"where {name} is observed, in vacuum; at the median redshift"
        ranged = f"probability that {name} is within the spectrograph's range"
        clear = f"probability that {name}, if within range, is clear of strong sky lines"
        columns += [
            Column(f"wavelength_{name}", f32, "Angstrom", "em.wl;spect.line", where, UNKNOWN),
            Column(f"in_range_{name}", f32, "", "stat.probability", ranged, UNKNOWN),
            Column(
                f"clear_of_sky_{name}", f32, "", "stat.probability", clear,
                f"{UNKNOWN}, or no list of sky lines reaches there",
            ),
        ]  # fmt: skip
        for quantity in QUANTITIES:
            name, about = f"{quantity}_{line.name}", _about(quantity, line, exposure)
            unit, ucd = OBSERVED_UNITS[quantity], _UCDS[quantity]
            columns += [
                Column(name + end, f32, unit, form.format(ucd), f"{kind} of {about}", UNKNOWN)
                for end, kind, form, _ in _PERCENTILES
            ]
            columns += posterior_columns(name, about, unit, tuple(before))
            before.append(name)
    about = "ok, or why fluxes of lines are not known"
    return [*columns, Column(STATUS, pa.string(), "", "meta.code.status", about, NEVER)]


def followed_columns(following: Following) -> list[Column]:
    """Columns from which P() calculates quantities of lines at any redshift and width."""
    kind = pa.list_(pa.float32(), len(following.centres))
    at = ", ".join(f"{each:.0f}" for each in following.centres)
    light = f"continuum within the fiber, corrected for dust, at {at} Angstrom; P() follows it"
    dust = "E(B-V) by which the light within the fiber is dimmed"
    return [
        Column(
            CONTINUUM, kind, "nJy", "phot.flux.density;em.opt", light, UNKNOWN,
            notes={NOTE: following.note},
        ),
        Column(REDDENING, pa.float32(), "mag", "phot.color.excess", dust, UNKNOWN),
    ]  # fmt: skip


def _about(quantity: str, line: Line, exposure: Exposure) -> str:
    where = f"{line.name} in a fiber of {exposure.spectrograph.name}"
    if quantity == "lineflux":
        return f"flux of {where}, dimmed by Galactic dust if that is given"
    if quantity == "snr":
        return f"signal-to-noise ratio of {where} after {exposure.time:g} s"
    ratio = f"a signal-to-noise ratio of {exposure.snr:g}"
    return f"time until {where} has {ratio}, at most {LONGEST:g} s"


def _posterior_columns(
    derived: Iterable[DerivedPosterior], posterior: ProxyPosterior
) -> dict[str, np.ndarray]:
    before: list[DerivedPosterior | str] = list(posterior.names)
    columns = {}
    for each in derived:
        for end, _, _, score in _PERCENTILES:
            columns[each.name + end] = each.quantiles[:, list(NORMAL_SCORES).index(score)]
        columns[each.name + QUANTILES] = each.quantiles
        pairs = [each.correlation(other, posterior) for other in before]
        columns[each.name + CORRELATION] = np.stack(pairs, axis=1)
        before.append(each)
    return columns


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def provenance_of(observation: Observation) -> dict[str, Any]:
    """What is said of an observation in a footer."""
    exposure, redshift = observation.exposure, observation.redshift
    return {
        "spectrograph": exposure.spectrograph.name,
        "sha256": exposure.spectrograph.sha256,
        "source": exposure.spectrograph.source,
        "time": exposure.time,
        "snr": exposure.snr,
        "redshift": [
            redshift.value,
            PHOTOZ + QUANTILES if redshift.predicted else redshift.error,
            redshift.grid,
        ],
        "magnitudes": [
            [str(column.band), column.name] for column in observation.magnitudes.columns
        ],
        "in_fiber": observation.magnitudes.in_fiber,
        "dereddened": observation.magnitudes.dereddened,
        "size": observation.size,
        "reddening": observation.reddening,
        **_nights_of(observation),
    }


def _nights_of(observation: Observation) -> dict[str, Any]:
    asked = observation.visibility
    return {} if asked is None else {"visibility": asked.provenance()}
