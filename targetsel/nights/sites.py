"""Places from which spectra are taken: a table of observatories, and coordinates of one's own."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from numbers import Real

from targetsel.errors import VisibilityError

EXAMPLE = "lat=31.964 lon=-111.600 height=2120"
_KEYS = {
    **dict.fromkeys(("lat", "latitude"), "latitude"),
    **dict.fromkeys(("lon", "long", "longitude"), "longitude"),
    **dict.fromkeys(("height", "altitude", "elevation"), "height"),
}
_RANGES = {"latitude": (-90, 90), "longitude": (-180, 360), "height": (-500, 9000)}
_UNITS = {"latitude": "deg", "longitude": "deg", "height": "m"}
_PAIR = re.compile(r"([A-Za-z]+)\s*=\s*([^\s,=]+)")


@dataclass(frozen=True)
class Site:
    """A place from which sources are observed.

    Attributes
    ----------
    name : str
        A short name; rules can write it without quotes.
    longitude, latitude : float
        East longitude, and geodetic latitude [deg]. Longitudes of 180 to 360 deg are those of
        -180 to 0 deg.
    height : float
        Above the sea [m].
    title : str
        The observatory or telescope.
    aliases : tuple of str
        Other names that are understood.
    source : str
        Where the coordinates are from.

    Raises
    ------
    VisibilityError
        If a coordinate is out of range.

    Examples
    --------
    >>> import targetsel as ts
    >>> mine = ts.Site("mine", longitude=-111.6, latitude=31.96, height=2120)
    >>> ts.sites()["KPNO"].latitude
    31.9639722
    """

    name: str
    longitude: float
    latitude: float
    height: float = 0.0
    title: str = ""
    aliases: tuple[str, ...] = ()
    source: str = "given"

    def __post_init__(self) -> None:
        for key, (low, high) in _RANGES.items():
            value = getattr(self, key)
            if not is_number(value) or not low <= value <= high:
                raise VisibilityError(
                    f"site '{self.name}': its {key} is {value!r}; expected {low} to {high} "
                    f"{_UNITS[key]}, as in {EXAMPLE}."
                )
            object.__setattr__(self, key, float(value))
        east = self.longitude
        object.__setattr__(self, "longitude", east - 360 if east > 180 else east)

    def __str__(self) -> str:
        return self.name

    @property
    def words(self) -> str:
        """The text by which `find` gives this site: its name in the table, or its coordinates."""
        if sites_by_name().get(self.name) == self:
            return self.name
        return f"lat={self.latitude!r} lon={self.longitude!r} height={self.height!r}"

    @classmethod
    def find(cls, text: str | Site) -> Site:
        """A site of the table, by name or alias, or one of coordinates such as "lat=31.96
        lon=-111.6 height=2120", with the height in m.

        Upper and lower case, blanks, hyphens and underscores make no difference in names.

        Raises
        ------
        VisibilityError
            If there is no such site; with the names that are close.
        """
        if isinstance(text, Site):
            return text
        if not isinstance(text, str):
            raise VisibilityError(
                f"a site is a name or a Site, not {type(text).__name__}. Write one such as 'KPNO'."
            )
        if "=" in text:
            return cls._of_coordinates(text)
        known = _names()
        if _plain(text) in known:
            return sites_by_name()[known[_plain(text)]]
        close = get_close_matches(_plain(text), known, n=3, cutoff=0.6)
        names = [*dict.fromkeys(known[each] for each in close)]
        hint = f" Did you mean {' or '.join(map(repr, names))}?" if names else ""
        raise VisibilityError(
            f"unknown site '{text}'.{hint} 'targetsel sites' lists those that are known; "
            f"any other place is given as '{EXAMPLE}'."
        )

    @classmethod
    def _of_coordinates(cls, text: str) -> Site:
        pairs = _PAIR.findall(text)
        rest = _PAIR.sub("", text).replace(",", "").strip()
        values: dict[str, float] = {}
        for key, written in pairs:
            name = _KEYS.get(key.lower())
            value = _number(written)
            if name is None or name in values or value is None:
                rest = f"{key}={written}"
                break
            values[name] = value
        if rest or not {"latitude", "longitude"} <= values.keys():
            wrong = f"'{rest}' is not understood" if rest else "a coordinate is missing"
            raise VisibilityError(
                f"site '{text}': {wrong}; expected decimal degrees and metres, as in '{EXAMPLE}'."
            )
        height = values.get("height", 0.0)
        return cls(" ".join(text.split()), values["longitude"], values["latitude"], height)


def is_number(value: object) -> bool:
    """Whether a value is a number, of Python or NumPy, and not true or false."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _plain(name: str) -> str:
    """A name without what makes no difference: case, and all but letters and digits."""
    return re.sub(r"[\W_]", "", name.lower())


@lru_cache(maxsize=1)
def _table() -> tuple[Site, ...]:
    text = files("targetsel.nights").joinpath("data/sites.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(
        Site(
            *(row["name"], float(row["longitude"]), float(row["latitude"]), float(row["height"])),
            *(row["title"], tuple(filter(None, row["aliases"].split("|"))), row["source"]),
        )
        for row in rows
    )


@lru_cache(maxsize=1)
def sites_by_name() -> dict[str, Site]:
    """The sites of the table, in alphabetical order of their names."""
    return {site.name: site for site in sorted(_table(), key=lambda each: each.name.lower())}


def sites(name: str = "") -> dict[str, Site]:
    """The sites that are known by name, as `targetsel sites` lists them.

    Parameters
    ----------
    name : str
        Only those with this text in a name; case, blanks and hyphens make no difference.

    Returns
    -------
    dict of str to Site
        In alphabetical order.

    Raises
    ------
    VisibilityError
        If no site has the text in a name.

    See Also
    --------
    visibility : Which sources are up at one of them.

    Examples
    --------
    >>> import targetsel as ts
    >>> ts.sites()["Paranal"].height
    2635.0
    >>> [*ts.sites("palma")]
    ['GTC', 'INT', 'La_Palma', 'NOT', 'TNG', 'WHT']
    """
    found = {
        site.name: site
        for site in sites_by_name().values()
        if any(_plain(name) in _plain(each) for each in (site.name, site.title, *site.aliases))
    }
    if not found:
        Site.find(name)  # which says what is close
    return found


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """The name of the site that each plain name or alias stands for."""
    return {
        _plain(each): site.name
        for site in _table()
        for each in (site.title, *site.aliases, site.name)
    }
