"""Simulation of one pointing, which forecasts how many of a list's targets would get a fiber.

It is plainer than the real tool of the instrument. Fibers sit on a hexagonal grid that
fills the field and reach everything within a patrol radius; where none is given, every fiber
reaches the whole field. By falling priority, each target takes the nearest free fiber that reaches
it, unless it lies closer to a target that has one than two fibers can come, until only as many
fibers are left as the instrument keeps for sky and standard stars. Left out: the shapes of
positioners, broken fibers, where the sky and the stars are, guide stars, refraction and optical
distortion, and that a real tool optimizes over all targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from targetsel.errors import HandoffError, unknown
from targetsel.handoff.prepare import checked
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import separation

MOST_FIBERS = 100_000


@dataclass(frozen=True)
class Instrument:
    """A fiber spectrograph, as far as the simulation needs it.

    Attributes
    ----------
    n_fibers : int
        Fibers for targets, without those for sky and standard stars.
    diameter : float
        Diameter of the field [deg]; of a hexagon, from corner to corner.
    shape : "circle" or "hexagon"
        A hexagon has two corners to the east and west of its center.
    patrol : float or None
        Patrol radius of a fiber [arcsec]; None: the whole field.
    separation : float
        Smallest separation of two fibers [arcsec]; 0 where no single number is published.
    source : str
        Source of the numbers.
    real_tool : str
        Tool for a real assignment.
    n_sky, n_stars : int
        Further fibers, for sky and for standard stars; 0 where the number is not published.
    site : str
        Where it is, by the names of `nights.sites`; empty for one of your own.
    """

    name: str
    title: str
    n_fibers: int
    diameter: float
    shape: Literal["circle", "hexagon"]
    patrol: float | None
    separation: float
    source: str
    real_tool: str
    n_sky: int = 0
    n_stars: int = 0
    site: str = ""

    @property
    def n_all(self) -> int:
        """All fibers: those for targets, sky and standard stars."""
        return self.n_fibers + self.n_sky + self.n_stars


INSTRUMENTS = {
    each.name: each
    for each in (
        Instrument(
            "desi", "DESI", 4500, 3.2, "circle", 85.0, 0.0,
            "Silber et al. (2023, AJ 165, 9): 5,000 fibers, 6 mm patrol radius, at about 70 "
            "um/arcsec; desihub/fiberassign: 40 sky fibers and 10 standard stars for each of 10 "
            "petals; collisions are left out, as they have no single distance",
            "fiberassign's fba_run", n_sky=400, n_stars=100, site="KPNO",
        ),
        Instrument(
            "pfs", "Subaru PFS", 1794, 1.38, "hexagon", 53.7, 30.0,
            "pfs.ipmu.jp/research/parameters.html: 2,394 fibers, patrol diameter 107.4 arcsec at "
            "the center; Subaru-PFS/pfs_obsproc_planning_tools, recommended: 400 sky fibers and "
            "200 standard stars",
            "ets_fiberalloc (netflow) or the PFS target uploader",
            n_sky=400, n_stars=200, site="Subaru",
        ),
        Instrument(
            "4most", "4MOST, low resolution", 1624, 2.51, "hexagon", 199.0, 17.0,
            "eso.org 4MOST instrument description: 1,624 fibers, 4.1 deg2, 17 arcsec; 4most.eu "
            "subsystems: patrol radius 11.8 mm at 59.4 um/arcsec; no number of fibers for sky and "
            "standard stars is published",
            "the 4MOST Facility Simulator (4FS)", site="VISTA",
        ),
        Instrument(
            "hectospec", "MMT Hectospec", 270, 1.0, "circle", None, 20.0,
            "Hectospec Observers Reference Manual (Oct 2007): 300 fibers, 1 deg, 20 arcsec; its "
            "observing protocols (Nov 2005): at least 30 sky fibers; no number of standard stars",
            "xfitfibs", n_sky=30, site="MMT",
        ),
        Instrument(
            "2df", "AAT 2dF", 365, 2.0, "circle", None, 30.0,
            "aao.gov.au 2dF pages and FAQ: 392 fibres, 2 deg, 30 arcsec at the least; Configure "
            "cookbook: 20-30 sky fibres (25 are taken) and 1-2 standard stars (2)",
            "Configure", n_sky=25, n_stars=2, site="AAT",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class PointingForecast:
    """Simulated fibers of a list of M targets.

    Attributes
    ----------
    instrument : Instrument
    inside : ndarray of bool, shape (M,)
        Whether a target is in the field of view.
    fiber : ndarray of int, shape (M,)
        The number of its fiber, from the center of the field outwards; -1 without one.
    """

    instrument: Instrument
    inside: np.ndarray
    fiber: np.ndarray

    @property
    def assigned(self) -> np.ndarray:
        """Whether a target has a fiber, shape (M,)."""
        return self.fiber >= 0


def find_instrument(name: str) -> Instrument:
    """The instrument of this name.

    Raises
    ------
    HandoffError
        If there is none; it suggests a close name, or lists them all.
    """
    if name in INSTRUMENTS:
        return INSTRUMENTS[name]
    raise HandoffError(unknown("instrument", name, INSTRUMENTS))


def simulate(
    targets: TargetList, instrument: Instrument, ra: float, dec: float
) -> PointingForecast:
    """The forecast for a pointing at `ra`, `dec` [deg].

    Raises
    ------
    HandoffError
        If the pointing is no position, the instrument's numbers are impossible, or the list is
        not sound.
    """
    check_instrument(instrument)
    _check_pointing(ra, dec)
    return forecast_at(TargetsInOrder.of(targets), instrument, ra, dec)


@dataclass(frozen=True)
class TargetsInOrder:
    """Positions of M targets, and the order in which they take fibers.

    Attributes
    ----------
    ra, dec : ndarray, shape (M,)
        In deg.
    rank : ndarray of int, shape (M,)
        0 for the target that comes first: by falling priority and sub-priority, then by id.
    """

    ra: np.ndarray
    dec: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(cls, targets: TargetList) -> TargetsInOrder:
        """The targets of a list, in its order.

        Raises
        ------
        HandoffError
            If the list is not sound.
        """
        table = checked(targets).table
        wanted = [-table[name].to_numpy().astype(float) for name in ("subpriority", "priority")]
        first_to_last = np.lexsort((table["target_id"].to_numpy(), *wanted))
        rank = np.empty(len(table), dtype=int)
        rank[first_to_last] = np.arange(len(table))
        return cls(table["ra"].to_numpy(), table["dec"].to_numpy(), rank)


def forecast_at(
    sources: TargetsInOrder,
    instrument: Instrument,
    ra: float,
    dec: float,
    wanted: np.ndarray | None = None,
) -> PointingForecast:
    """The forecast for a pointing, of all targets or of those that are `wanted`, shape (M,)."""
    here = offsets(sources.ra, sources.dec, ra, dec)
    inside = _reach(here, instrument.shape) <= 1800 * instrument.diameter
    if wanted is not None:
        inside &= wanted
    rows = np.flatnonzero(inside)
    fiber = np.full(len(inside), -1)
    fiber[rows] = _assigned(here[rows], np.argsort(sources.rank[rows]), instrument)
    return PointingForecast(instrument, inside, fiber)


def where_targets_are(targets: TargetList, ra: float, dec: float) -> str:
    """A sentence on the nearest target to a pointing at `ra`, `dec` [deg] and the list's extent."""
    table = targets.table
    there = np.stack([table["ra"].to_numpy(), table["dec"].to_numpy()])
    distance = separation(there[0], there[1], np.array([ra]), np.array([dec]))
    nearest = int(distance.argmin())
    west, east = _around_zero(there[0])
    return (
        f"No target is in this field. The nearest, {table['target_id'][nearest]}, is "
        f"{distance[nearest]:.2f} deg away at ra {there[0, nearest]:.4f}, dec "
        f"{there[1, nearest]:.4f}; all lie within ra {west:.2f} to {east:.2f} and dec "
        f"{there[1].min():.2f} to {there[1].max():.2f}. Without --ra and --dec the densest "
        "pointing is looked for."
    )


def _around_zero(ra: np.ndarray) -> tuple[float, float]:
    """The ends [deg] of the shortest range of right ascension that holds all, perhaps over 0."""
    ra = np.sort(ra)
    gap = np.diff(ra, append=ra[0] + 360)
    before = int(gap.argmax())
    return float(ra[(before + 1) % len(ra)]), float(ra[before])


def offsets(ra: np.ndarray, dec: np.ndarray, ra0: float, dec0: float) -> np.ndarray:
    """Gnomonic offsets to the east and north of (ra0, dec0) [arcsec], shape (M, 2).

    Infinite for positions 90 degrees away or more.
    """
    east, north = np.radians(ra - ra0), np.radians(dec)
    sin0, cos0 = np.sin(np.radians(dec0)), np.cos(np.radians(dec0))
    depth = sin0 * np.sin(north) + cos0 * np.cos(north) * np.cos(east)
    x = np.cos(north) * np.sin(east)
    y = cos0 * np.sin(north) - sin0 * np.cos(north) * np.cos(east)
    with np.errstate(divide="ignore", invalid="ignore"):
        plane = np.degrees(np.stack([x, y], axis=1) / depth[:, None]) * 3600
    return np.where(depth[:, None] > 1e-6, plane, np.inf)


def homes(instrument: Instrument) -> np.ndarray:
    """Resting places of the fibers on a hexagonal grid, innermost first [arcsec], shape (F, 2)."""
    radius = 1800 * instrument.diameter
    area = radius**2 * (np.pi if instrument.shape == "circle" else 1.5 * np.sqrt(3))
    pitch = np.sqrt(2 * area / np.sqrt(3) / instrument.n_all)
    steps = np.arange(-int(2 * radius / pitch) - 2, int(2 * radius / pitch) + 3)
    column, row = (each.ravel() for each in np.meshgrid(steps, steps))
    grid = pitch * np.stack([column + row / 2, row * np.sqrt(3) / 2], axis=1)
    angle = np.arctan2(grid[:, 1], grid[:, 0])
    # Rounded, so that places of equal distance are in the order of their angle everywhere.
    distance = np.round(_reach(grid, instrument.shape) / pitch, 6)
    return grid[np.lexsort((np.round(angle, 6), distance))[: instrument.n_all]]


def _reach(place: np.ndarray, shape: str) -> np.ndarray:
    """Radius of a circle, or of a hexagon's corners, that passes through each place."""
    x, y = np.abs(place[:, 0]), np.abs(place[:, 1])
    if shape == "circle":
        return np.hypot(x, y)
    return np.maximum(2 / np.sqrt(3) * y, x + y / np.sqrt(3))


def _assigned(here: np.ndarray, first_to_last: np.ndarray, instrument: Instrument) -> np.ndarray:
    """The fiber of each target in the field, shape (N,); -1 without one."""
    fiber = np.full(len(here), -1)
    if len(here) == 0:
        return fiber
    rest = homes(instrument)
    free, n_free = np.ones(len(rest), bool), instrument.n_fibers
    blocked = np.zeros(len(here), bool)
    near, sky = cKDTree(rest), cKDTree(here)
    for target in first_to_last.tolist():
        if n_free == 0:
            break
        if blocked[target]:
            continue
        if instrument.patrol is None:
            reach = np.flatnonzero(free)
        else:
            reach = np.array(near.query_ball_point(here[target], instrument.patrol), dtype=int)
            reach = np.sort(reach[free[reach]])
        if len(reach) == 0:
            continue
        distance = np.hypot(*(rest[reach] - here[target]).T)
        fiber[target] = reach[distance.argmin()]
        free[fiber[target]] = False
        n_free -= 1
        if instrument.separation > 0:
            blocked[sky.query_ball_point(here[target], instrument.separation)] = True
    return fiber


def _check_pointing(ra: float, dec: float) -> None:
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        raise HandoffError(
            f"the pointing is ra {ra:g}, dec {dec:g} deg; expected 0 to 360 and -90 to 90 deg."
        )


def check_instrument(instrument: Instrument) -> None:
    """Refuse numbers that no instrument has.

    Raises
    ------
    HandoffError
    """
    if not 1 <= instrument.n_fibers <= MOST_FIBERS:
        raise HandoffError(f"{instrument.n_fibers:,} fibers; expected 1 to {MOST_FIBERS:,}.")
    if not 0 < instrument.diameter <= 30:
        raise HandoffError(f"a field of {instrument.diameter:g} deg; expected 0 to 30 deg.")
    if instrument.patrol is not None and not instrument.patrol > 0:
        raise HandoffError(f"a reach of {instrument.patrol:g} arcsec; expected above zero.")
    if not instrument.separation >= 0:
        raise HandoffError(f"a separation of {instrument.separation:g} arcsec; expected 0 or more.")
