"""Simulation of one pointing, which forecasts how many of a list's targets would get a fiber.

It is plainer than the real tool of the instrument. Fibers sit on a hexagonal grid that
fills the field and reach everything within a patrol radius; where none is given, every fiber
reaches the whole field. By falling priority, each target takes the nearest free fiber that reaches
it, unless it lies closer to a target that has one than two fibers can come. Left out: the shapes of
positioners, broken fibers, fibers for sky and standard stars (set `n_fibers` lower for them), guide
stars, refraction and optical distortion, and that a real tool optimizes over all targets.
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


INSTRUMENTS = {
    each.name: each
    for each in (
        Instrument(
            "desi", "DESI", 5000, 3.2, "circle", 85.0, 0.0,
            "Silber et al. (2023, AJ 165, 9): 6 mm patrol radius, at about 70 um/arcsec; "
            "collisions are left out, as they have no single distance",
            "fiberassign's fba_run",
        ),
        Instrument(
            "pfs", "Subaru PFS", 2394, 1.38, "hexagon", 53.7, 30.0,
            "pfs.ipmu.jp/research/parameters.html: patrol diameter 107.4 arcsec at the center",
            "ets_fiberalloc (netflow) or the PFS target uploader",
        ),
        Instrument(
            "4most", "4MOST, low resolution", 1624, 2.51, "hexagon", 199.0, 17.0,
            "eso.org 4MOST instrument description: 4.1 deg2, 17 arcsec; "
            "4most.eu subsystems: patrol radius 11.8 mm at 59.4 um/arcsec",
            "the 4MOST Facility Simulator (4FS)",
        ),
        Instrument(
            "hectospec", "MMT Hectospec", 300, 1.0, "circle", None, 20.0,
            "Hectospec Observers Reference Manual (Oct 2007): 300 fibers, 1 deg, 20 arcsec",
            "xfitfibs",
        ),
        Instrument(
            "2df", "AAT 2dF", 392, 2.0, "circle", None, 30.0,
            "aao.gov.au 2dF pages and FAQ: 392 fibres, 2 deg, 30 arcsec at the least",
            "Configure",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class PointingForecast:
    """Simulated fibers of a list of M targets.

    Attributes
    ----------
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
    _check(instrument, ra, dec)
    table = checked(targets).table
    here = offsets(table["ra"].to_numpy(), table["dec"].to_numpy(), ra, dec)
    inside = _reach(here, instrument.shape) <= 1800 * instrument.diameter
    rows = np.flatnonzero(inside)
    wanted = [-table[name].to_numpy()[rows].astype(float) for name in ("subpriority", "priority")]
    first_to_last = np.lexsort((table["target_id"].to_numpy()[rows], *wanted))
    fiber = np.full(len(table), -1)
    fiber[rows] = _assigned(here[rows], first_to_last, instrument)
    return PointingForecast(instrument, inside, fiber)


def where_targets_are(targets: TargetList, ra: float, dec: float) -> str:
    """A sentence on the nearest target to a pointing at `ra`, `dec` [deg] and the list's extent."""
    table = targets.table
    there = np.stack([table["ra"].to_numpy(), table["dec"].to_numpy()])
    distance = separation(there[0], there[1], np.array([ra]), np.array([dec]))
    nearest = int(distance.argmin())
    low, high = there.min(axis=1), there.max(axis=1)
    return (
        f"No target is in this field. The nearest, {table['target_id'][nearest]}, is "
        f"{distance[nearest]:.2f} deg away at ra {there[0, nearest]:.4f}, dec "
        f"{there[1, nearest]:.4f}; all lie within ra {low[0]:.2f} to {high[0]:.2f} and dec "
        f"{low[1]:.2f} to {high[1]:.2f}. Point there with --ra and --dec."
    )


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
    pitch = np.sqrt(2 * area / np.sqrt(3) / instrument.n_fibers)
    steps = np.arange(-int(2 * radius / pitch) - 2, int(2 * radius / pitch) + 3)
    column, row = (each.ravel() for each in np.meshgrid(steps, steps))
    grid = pitch * np.stack([column + row / 2, row * np.sqrt(3) / 2], axis=1)
    angle = np.arctan2(grid[:, 1], grid[:, 0])
    # Rounded, so that places of equal distance are in the order of their angle everywhere.
    distance = np.round(_reach(grid, instrument.shape) / pitch, 6)
    return grid[np.lexsort((np.round(angle, 6), distance))[: instrument.n_fibers]]


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
    free, n_free = np.ones(len(rest), bool), len(rest)
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


def _check(instrument: Instrument, ra: float, dec: float) -> None:
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        raise HandoffError(
            f"the pointing is ra {ra:g}, dec {dec:g} deg; expected 0 to 360 and -90 to 90 deg."
        )
    if not 1 <= instrument.n_fibers <= MOST_FIBERS:
        raise HandoffError(f"{instrument.n_fibers:,} fibers; expected 1 to {MOST_FIBERS:,}.")
    if not 0 < instrument.diameter <= 30:
        raise HandoffError(f"a field of {instrument.diameter:g} deg; expected 0 to 30 deg.")
    if instrument.patrol is not None and not instrument.patrol > 0:
        raise HandoffError(f"a reach of {instrument.patrol:g} arcsec; expected above zero.")
    if not instrument.separation >= 0:
        raise HandoffError(f"a separation of {instrument.separation:g} arcsec; expected 0 or more.")
