"""CPU time of the visibility of sources, and how far it is from astropy's altitudes.

    python benchmarks/visibility.py [--rows 10000000] [--runs 3]

Random positions all over the sky. Prints what every column of one night takes, that of a week, and
the first night of a process, which reads the Earth's rotation and places Sun and Moon. Then it
transforms some positions to altitudes by astropy, a time every other minute, at sites from pole to
pole, and prints the largest differences: of the airmass at the best time, of the times at which
sources rise above the limit and set below it, and of the hours between. That grid tells times to
within half a step, 1 min, and hours to within a step.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measuring import Figure, machine, print_figures, timed

from targetsel.nights.ephemeris import Ephemeris
from targetsel.nights.sites import Site
from targetsel.nights.visibility import Visibility

NIGHT = "2027-03-14"
SITES = ("KPNO", "Paranal", "Subaru", "AAT", "Tautenburg", "lat=78.2 lon=15.6", "lat=-90 lon=0")
DATES = ("2026-06-21", "2026-09-30", "2026-12-31", "2027-03-14")
MINUTES = 2
BELOW = 5.0  # airmasses beyond are of nobody's use


def sky(rows: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(1)
    return draw.uniform(0, 360, rows), np.degrees(np.arcsin(draw.uniform(-1, 1, rows)))


def figures(folder: Path, rows: int = 10_000_000, runs: int = 3) -> dict[str, Figure]:
    """What a night takes, and the differences from astropy."""
    ra, dec = sky(rows)
    night = Visibility.of("KPNO", NIGHT)
    week = Visibility.of("KPNO", f"{NIGHT}/2027-03-20")
    few = max(rows // 10, 1)
    found = timed({"one night": lambda: night.columns(ra, dec)}, runs, per=rows)
    found |= timed({"seven nights": lambda: week.columns(ra[:few], dec[:few])}, runs, per=few)
    found |= timed({"Sun, Moon and Earth of a night": _one_day}, runs)
    return found | differences()


def _one_day() -> Ephemeris:
    site = Site.find("KPNO")
    return Ephemeris.of_day(61478.81, site.longitude, site.latitude, site.height)


def differences(n: int = 60) -> dict[str, Figure]:
    """The largest differences from astropy over sites and dates on which it gets dark."""
    from astropy.utils import iers

    from targetsel.errors import VisibilityError

    ra, dec = sky(n)
    worst: dict[str, list[float]] = {}
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        for site in SITES:
            for date in DATES:
                try:
                    asked = Visibility.of(site, date)
                except VisibilityError:  # no darkness
                    continue
                for name, value in _differences(asked, date, ra, dec).items():
                    worst.setdefault(name, []).append(value)
    units = {"airmass": "", "times": "min", "hours up": "min"}
    return {
        f"largest difference of {name}": Figure((max(values),), units[name], "accuracy")
        for name, values in worst.items()
    }


def _differences(asked: Visibility, date: str, ra: np.ndarray, dec: np.ndarray) -> dict[str, float]:
    import astropy.units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_sun
    from astropy.time import Time

    site = asked.site
    place = EarthLocation(site.longitude * u.deg, site.latitude * u.deg, site.height * u.m)
    noon = Time(f"{date}T12:00:00") - site.longitude / 15 * u.hour
    times = noon + np.arange(0, 24 * 60, MINUTES) * u.min
    frame = AltAz(obstime=times, location=place)
    dark = get_sun(times).transform_to(frame).alt.deg < -18
    sources = SkyCoord(ra * u.deg, dec * u.deg)
    altitude = sources[:, None].transform_to(frame[None, :]).alt.rad
    with np.errstate(divide="ignore"):
        is_up = dark & (altitude > 0) & (1 / np.sin(altitude) < asked.airmass)
    found = asked.columns(ra, dec).to_pandas()
    rows = np.flatnonzero((found["airmass_min"] < BELOW).to_numpy())
    when = found["best_time"].dt.tz_localize(None).to_numpy()[rows]
    at_best = AltAz(obstime=Time(when, scale="utc"), location=place)
    airmass = 1 / np.sin(sources[rows].transform_to(at_best).alt.rad)
    risen = np.flatnonzero(is_up.any(axis=1))
    utc = times.datetime64.astype("datetime64[ms]")
    first, last = utc[is_up[risen].argmax(1)], utc[-1 - is_up[risen][:, ::-1].argmax(1)]
    # The grid is late where a span begins, and early where it ends, by half a step on average.
    half = np.timedelta64(MINUTES * 30_000, "ms")
    begins, ends = (
        found[name].dt.tz_localize(None).to_numpy()[risen] for name in ("up_from", "up_until")
    )
    apart = [
        np.abs((mine - theirs).astype("timedelta64[ms]").astype(float)) / 60_000
        for mine, theirs in ((begins, first - half), (ends, last + half))
    ]
    hours = is_up.sum(axis=1) * MINUTES / 60
    return {
        "airmass": float(np.abs(found["airmass_min"].to_numpy()[rows] - airmass).max()),
        "times": float(np.concatenate(apart).max()),
        "hours up": float(60 * np.abs(found["hours_up"] - hours).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    about = machine()
    print(f"{about['processor']}, one thread; numpy {about['numpy']}")
    print_figures(figures(Path(tempfile.gettempdir()), options.rows, options.runs))


if __name__ == "__main__":
    main()
