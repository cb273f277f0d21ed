"""Target lists checked, and prepared for one tool: at its epoch, with its priorities and its ids.

Lists are also joined, cut and edited by hand; columns and values that would mislead a tool are
refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from astropy import units
from astropy.coordinates import Distance, SkyCoord
from astropy.time import Time

from targetsel.errors import HandoffError
from targetsel.handoff.settings import EPOCHS, EpochSettings, ToolSettings
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, names_of
from targetsel.selection.target_list import TARGETS, TargetList, as_declared
from targetsel.tables.columns import floats

# About twice the motion of Barnard's star [mas/yr] and the parallax of Proxima [mas].
LARGEST = {"pmra": 20_000.0, "pmdec": 20_000.0, "parallax": 1500.0}
CODES = (999.0, 9999.0)  # which surveys write for what is unknown, with either sign


@dataclass(frozen=True)
class ExportOptions:
    """Choices of the user about an export.

    Attributes
    ----------
    bin_priorities : bool
        Merge neighbouring priorities where the tool has too few.
    assume_still : bool
        Targets without a known proper motion stand still, as galaxies do, also where others of the
        list have one. Those of a list without any proper motion always do.
    brightness : tuple of str
        Columns of fluxes or magnitudes as BAND=COLUMN, taken before those found by their names.
    """

    bin_priorities: bool = False
    assume_still: bool = False
    brightness: tuple[str, ...] = ()


def prepare(
    targets: TargetList,
    tool: Tool,
    settings: ToolSettings,
    options: ExportOptions = ExportOptions(),
) -> ToolTable:
    """The targets as `tool` wants them.

    Raises
    ------
    HandoffError
        If the list is not sound (see `checked`); there are more targets, larger ids or more
        priorities than the tool takes, names with characters it does not know or twice the same,
        or no proper motions or epochs where it needs them.
    """
    n = len(targets)
    if n == 0:
        raise HandoffError(
            f"the list has no targets; there is nothing to hand to '{tool.name}'. Loosen the "
            "rules, and select again."
        )
    if tool.max_targets is not None and n > tool.max_targets:
        raise HandoffError(
            f"the list has {n} targets; '{tool.name}' takes {tool.max_targets} at most. "
            "Select fewer with `limit:`."
        )
    table = checked(targets).table
    motions = _motions(table, tool, settings, options.assume_still)
    ra, dec, epoch, pmra, pmdec = _positions(table, motions, tool, settings)
    own = table["priority"].to_numpy().astype(np.int64)
    priority = own if tool.priorities is None else _mapped(own, tool, options.bin_priorities)
    return ToolTable(
        tool,
        table,
        _ids(table, tool, settings),
        ra,
        dec,
        epoch,
        pmra,
        pmdec,
        priority,
        options.brightness,
        motions.assumed,
        targets.footer,
    )


# --- checks ---------------------------------------------------------------------------------------


def checked(targets: TargetList) -> TargetList:
    """The list with its columns in their declared types and units, if they can be those of targets.

    Raises
    ------
    HandoffError
        If a column is missing, there twice, of another type or unit, or has gaps; ids are negative
        or not unique; positions, motions, epochs, sub-priorities or numbers of observations are
        impossible; or a target class has a name of several lines.
    """
    table = as_declared(targets.table, "the list", HandoffError)
    target_id = table["target_id"].to_numpy()
    if len(np.unique(target_id)) != len(target_id):
        raise HandoffError("the list has several targets of one target_id. Select anew.")
    ra, dec, subpriority, since, n_obs = (
        floats(table[name]) for name in ("ra", "dec", "subpriority", "ref_epoch", "n_obs")
    )
    _check(table, "target_id", target_id >= 0, "no negative ids")
    _check(table, "ra", (ra >= 0) & (ra < 360), "0 to 360 deg")
    _check(table, "dec", np.abs(dec) <= 90, "-90 to 90 deg")
    _check(table, "subpriority", (subpriority >= 0) & (subpriority < 1), "0 to 1, without 1")
    for name, largest in LARGEST.items():
        sizes = np.abs(floats(table[name]))
        plausible = np.isnan(sizes) | ((sizes <= largest) & ~np.isin(sizes, CODES))
        _check(table, name, plausible, f"up to {largest:g} {TARGETS[name].unit}, or nothing")
    plausible = np.isnan(since) | (since == 0) | ((since > EPOCHS[0]) & (since < EPOCHS[1]))
    _check(table, "ref_epoch", plausible, "a Julian year, or nothing")
    _check(table, "n_obs", np.isnan(n_obs) | (n_obs >= 1), "1 or more, or nothing")
    for name in table["program"].unique().to_pylist():
        if not name.isprintable():
            raise HandoffError(f"the list has a target class {name!r}; expected one line of text.")
    return TargetList(table, targets.footer)


def _check(table: pa.Table, name: str, right: np.ndarray, expected: str) -> None:
    wrong = np.flatnonzero(~right)
    if len(wrong):
        first = wrong[0].item()
        raise HandoffError(
            f"{name} of {len(wrong)} of {len(right)} targets is impossible: that of target "
            f"{table['target_id'][first]} is {table[name][first]}; expected {expected}."
        )


# --- ids -----------------------------------------------------------------------------------------


def _ids(table: pa.Table, tool: Tool, settings: ToolSettings) -> np.ndarray:
    if tool.names is not None:
        _check_names(names_of(table), tool)
        _check_unique(names_of(table), tool)
    if tool.ids == "name":
        return names_of(table)
    rows = np.arange(1, table.num_rows + 1, dtype=np.int64)
    if callable(tool.ids):
        ids = tool.ids(rows, settings)
    elif tool.ids == "row":
        ids = rows
    else:
        ids = table["target_id"].to_numpy()
    if tool.max_id is not None and ids.max() > tool.max_id:
        raise HandoffError(
            f"the id {ids.max()} is too large for '{tool.name}', which takes {tool.max_id} at most."
        )
    return ids


def _check_names(names: np.ndarray, tool: Tool) -> None:
    wrong = [name for name in names.tolist() if not tool.allows(name)]
    if wrong:
        raise HandoffError(
            f"{len(wrong)} of {len(names)} names are not for '{tool.name}', the first is "
            f"'{wrong[0][:60]}'; expected {tool.names_are}. Give the catalog another column of ids."
        )


def _check_unique(names: np.ndarray, tool: Tool) -> None:
    names, counts = np.unique(names.astype(str), return_counts=True)
    if len(names) and counts.max() > 1:
        raise HandoffError(
            f"{counts.max()} targets are called '{names[counts.argmax()]}', and '{tool.name}' "
            "knows targets by their names. Give the catalog a column of ids that are unique."
        )


# --- positions -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Motions:
    """Epochs [yr] and proper motions [mas/yr] of M targets, NaN where unknown, and what was
    assumed of them, in words."""

    since: np.ndarray
    pmra: np.ndarray
    pmdec: np.ndarray
    assumed: tuple[str, ...] = ()


def _wanted(tool: Tool, settings: ToolSettings) -> float | str | None:
    return settings.epoch if isinstance(settings, EpochSettings) else tool.epoch


def _motions(table: pa.Table, tool: Tool, settings: ToolSettings, assume_still: bool) -> _Motions:
    """Proper motions as the list has them; zero where they may be assumed to be."""
    since, pmra, pmdec = (floats(table[name]) for name in ("ref_epoch", "pmra", "pmdec"))
    if _wanted(tool, settings) is None:
        return _Motions(since, pmra, pmdec)
    since = np.where(since == 0, np.nan, since)  # DESI's catalogs write 0 for an unknown epoch
    unknown = np.isnan(pmra) & np.isnan(pmdec)
    if unknown.all() or assume_still:
        pmra, pmdec = np.where(unknown, 0.0, pmra), np.where(unknown, 0.0, pmdec)
    still = (pmra == 0) & (pmdec == 0)
    since = np.where(np.isnan(since) & still, tool.default_epoch, since)
    if not unknown.any() or not (unknown.all() or assume_still):
        return _Motions(since, pmra, pmdec)
    if unknown.all():
        said = "the list has no proper motions: its targets are taken to stand still, as galaxies"
    else:
        said = (
            f"{unknown.sum():,} of {len(unknown):,} targets have no proper motion: they are taken "
            "to stand still, as galaxies"
        )
    return _Motions(since, pmra, pmdec, (said,))


def _positions(
    table: pa.Table, motions: _Motions, tool: Tool, settings: ToolSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Position, epoch and proper motion of each target, as the tool wants them."""
    ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
    since, pmra, pmdec = motions.since, motions.pmra, motions.pmdec
    wanted = _wanted(tool, settings)
    if wanted is None:
        return ra, dec, since, pmra, pmdec
    _check_known(since, pmra, pmdec, wanted, tool)
    if wanted == "columns":
        return ra, dec, since, pmra, pmdec
    ra, dec = moved(ra, dec, pmra, pmdec, since, float(wanted))
    return ra, dec, np.full(len(ra), float(wanted)), pmra, pmdec


def _check_known(
    since: np.ndarray, pmra: np.ndarray, pmdec: np.ndarray, wanted: float | str, tool: Tool
) -> None:
    without = np.isnan(pmra) & np.isnan(pmdec)
    unknown = np.isnan(since) | np.isnan(pmra) | np.isnan(pmdec)
    if wanted != "columns":
        unknown = unknown & (since != wanted)
    if not unknown.any():
        return
    what = "the epoch and motion of each" if wanted == "columns" else f"positions at {wanted:g}"
    step = "Give the catalog the columns ref_epoch, pmra and pmdec."
    if (unknown & without).any():
        step = (
            "Other targets of the list have one; say --assume-still, and those without stand "
            "still, as galaxies do, or complete the catalog's columns ref_epoch, pmra and pmdec."
        )
    raise HandoffError(
        f"{unknown.sum()} of {len(unknown)} targets lack a proper motion or an epoch, and "
        f"'{tool.name}' needs {what}. {step}"
    )


def moved(
    ra: np.ndarray,
    dec: np.ndarray,
    pmra: np.ndarray,
    pmdec: np.ndarray,
    since: np.ndarray,
    epoch: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions [deg] at another epoch, on straight lines through space without radial velocity.

    The motion is that of ``SkyCoord.apply_space_motion``; the distance it asks for cancels, and is
    set to 10 pc, where motions of many arcsec/yr stay far below the speed of light.

    Parameters
    ----------
    ra, dec : ndarray, shape (M,)
        Position [deg, ICRS] at `since`.
    pmra, pmdec : ndarray, shape (M,)
        Proper motion [mas/yr], `pmra` times cos(dec).
    since : ndarray, shape (M,)
        Julian year.
    epoch : float
        Julian year.
    """
    ra, dec = ra.copy(), dec.copy()
    rows = np.flatnonzero(((pmra != 0) | (pmdec != 0)) & (since != epoch))
    if len(rows) == 0:
        return ra, dec
    there = SkyCoord(
        ra[rows] * units.deg,
        dec[rows] * units.deg,
        pm_ra_cosdec=pmra[rows] * units.mas / units.yr,
        pm_dec=pmdec[rows] * units.mas / units.yr,
        radial_velocity=np.zeros(len(rows)) * units.km / units.s,
        distance=Distance(np.full(len(rows), 10.0) * units.pc),
        obstime=Time(since[rows], format="jyear", scale="tdb"),
    ).apply_space_motion(new_obstime=Time(epoch, format="jyear", scale="tdb"))
    ra[rows], dec[rows] = there.ra.deg, there.dec.deg
    return ra, dec


# --- priorities ----------------------------------------------------------------------------------


def _mapped(own: np.ndarray, tool: Tool, merge: bool) -> np.ndarray:
    """The list's priorities (higher is better) on the tool's scale, in the same order."""
    scale = tool.priorities
    assert scale is not None
    if scale.kept and scale.holds(own):
        return own
    levels = np.unique(own)[::-1]
    if scale.kept and not merge:
        raise HandoffError(
            f"priorities from {levels[-1]} to {levels[0]} do not fit '{tool.name}', which takes "
            f"{scale.worst} (worst) to {scale.best} (best). Change them in the rules, or say "
            "--bin-priorities to have them counted up from the worst."
        )
    if len(levels) > scale.n_levels and not merge:
        raise HandoffError(
            f"the list has {len(levels)} different priorities; '{tool.name}' has "
            f"{scale.n_levels} ({scale.best} best to {scale.worst} worst). Use fewer in the "
            "rules, or say --bin-priorities to merge neighbours."
        )
    return _steps(len(levels), scale)[np.searchsorted(-levels, -own)]


def _steps(n_levels: int, scale: PriorityScale) -> np.ndarray:
    """The tool's priority for each level, the best first; neighbours are merged evenly."""
    n_steps = min(n_levels, scale.n_levels)
    place = np.arange(n_levels) * n_steps // n_levels
    best = scale.worst - scale.step * (n_steps - 1) if scale.kept else scale.best
    return best + scale.step * place
