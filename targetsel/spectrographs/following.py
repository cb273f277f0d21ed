"""What follows from each draw of a redshift and of line widths, for P() in rules.

A quantity of an observed line has quantiles and correlations in the catalog, which tell little of
jumps: a line leaves the spectrograph's range at one redshift, and meets sky lines at others. So an
observed catalog also keeps what it takes to calculate the quantity for any redshift and width: the
continuum in the fiber and the dust of each source in two columns, and the spectrograph, exposure
and lines in the metadata of the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, TargetselError
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import QUANTILES
from targetsel.spectrographs.continuum import arriving
from targetsel.spectrographs.lines import QUANTITIES, Line, ObservedLine
from targetsel.spectrographs.spectrograph import Exposure, Spectrograph
from targetsel.tables.parquet import footer_in
from targetsel.tables.types import held, is_list, is_number

CONTINUUM, REDDENING = "observed_continuum", "observed_ebv"
NOTE = "follows"  # key in the metadata of the column `CONTINUUM`
PLACES = ("wavelength", "in_range", "clear_of_sky")
HIGHEST = 10.0  # redshift


@dataclass(frozen=True)
class Following:
    """How quantities of observed lines follow from the redshift `photoz` and from line widths.

    Attributes
    ----------
    exposure : Exposure
    lines : tuple of Line
    centres : tuple of B floats
        Effective wavelengths [Angstrom] of the bands that the continuum is from.
    """

    exposure: Exposure
    lines: tuple[Line, ...]
    centres: tuple[float, ...]

    def __contains__(self, name: str) -> bool:
        return self._found(name) is not None

    @property
    def quantities(self) -> frozenset[str]:
        """Names of the quantities that have a posterior of their own in the catalog."""
        return frozenset(f"{each}_{line.name}" for each in QUANTITIES for line in self.lines)

    def parents(self, name: str) -> tuple[str, ...]:
        """The predicted quantities that one follows from."""
        quantity, line = self._of(name)
        return (PHOTOZ, line.proxy) if quantity in QUANTITIES else (PHOTOZ,)

    def drawn(self, names: Iterable[str]) -> set[str]:
        """The predicted quantities of which some names have draws: their own, or their parents'."""
        return {
            each for name in names for each in (self.parents(name) if name in self else (name,))
        }

    def needs_light(self, name: str) -> bool:
        """Whether a quantity depends on the continuum, and not on the redshift alone."""
        return self._of(name)[0] in QUANTITIES

    def values(
        self,
        name: str,
        drawn: Mapping[str, np.ndarray],
        continuum: np.ndarray,
        reddening: np.ndarray,
    ) -> np.ndarray:
        """A quantity of N sources in S draws of what it follows from, shape (N, S).

        Parameters
        ----------
        name : str
        drawn : mapping of name to ndarray, shape (N, S)
            Its `parents`.
        continuum : ndarray, shape (N, B)
            Light within the fiber, corrected for dust [nJy].
        reddening : ndarray, shape (N,)
            E(B-V) [mag].
        """
        quantity, line = self._of(name)
        spectrograph = self.exposure.spectrograph
        redshift = np.clip(drawn[PHOTOZ], 0.0, HIGHEST)
        light = np.zeros(())
        if quantity in QUANTITIES:
            at = line.wavelength * (1 + redshift)
            light = arriving(np.array(self.centres), continuum, at, reddening)
        seen = ObservedLine(line, redshift, light)
        match quantity:
            case "wavelength":
                return seen.wavelength
            case "in_range":
                return seen.in_range(spectrograph)
            case "clear_of_sky":
                return seen.clear_of_sky(spectrograph)
        return seen.quantities(drawn[line.proxy], self.exposure, (quantity,))[quantity]

    def _of(self, name: str) -> tuple[str, Line]:
        found = self._found(name)
        assert found is not None
        return found

    def _found(self, name: str) -> tuple[str, Line] | None:
        for line in self.lines:
            for quantity in (*QUANTITIES, *PLACES):
                if name == f"{quantity}_{line.name}":
                    return quantity, line
        return None

    # --- as it is stored ---

    @property
    def note(self) -> str:
        """It as JSON, for the metadata of the column `CONTINUUM`."""
        spectrograph = self.exposure.spectrograph
        card = {
            "spectrograph": spectrograph.text,
            "time": self.exposure.time,
            "snr": self.exposure.snr,
            "lines": [[each.proxy, *map(list, each.components)] for each in self.lines],
            "centres": list(self.centres),
        }
        return json.dumps(card, sort_keys=True)


def of_line(name: str) -> bool:
    """Whether a column has the name of a quantity of an observed line."""
    return name.startswith(tuple(f"{each}_" for each in (*QUANTITIES, *PLACES)))


def stored_following(schema: pa.Schema) -> Following | None:
    """What a catalog with these columns tells of quantities that follow; None where nothing is.

    Raises
    ------
    CatalogError
        If it is damaged, or was lost.
    """
    missing = [name for name in (CONTINUUM, REDDENING) if name not in schema.names]
    if missing and (len(missing) == 1 or _is_of_predictions(schema)):
        raise CatalogError(
            f"column '{missing[0]}', which observe wrote and P() needs, is missing. Restore it "
            "from the original with 'targetsel restore', or observe the scored catalog again."
        )
    if missing:
        return None
    field, dust = schema.field(CONTINUUM), schema.field(REDDENING)
    note = (field.metadata or {}).get(NOTE.encode())
    if note is None:
        raise CatalogError(
            f"column '{CONTINUUM}': has lost what observe noted there of the spectrograph, which "
            "P() needs, when another program wrote the file. Restore it from the original with "
            "'targetsel restore', or observe the scored catalog again."
        )
    found = _read(note)
    width = len(found.centres)
    is_light = is_list(field.type) and is_number(field.type.value_type)
    if not is_light or getattr(field.type, "list_size", width) not in (width, -1):
        raise CatalogError(
            f"column '{CONTINUUM}': holds {held(field.type)}; expected lists of {width} numbers. "
            "Observe the scored catalog again."
        )
    if not is_number(dust.type):
        raise CatalogError(
            f"column '{REDDENING}': holds {held(dust.type)}; expected numbers. Observe the scored "
            "catalog again."
        )
    return found


def _is_of_predictions(schema: pa.Schema) -> bool:
    """Whether the footer of a catalog says that it was observed at predicted redshifts."""
    observed = footer_in(schema.metadata).get("observed")
    redshift = observed.get("redshift") if isinstance(observed, dict) else None
    return isinstance(redshift, list) and PHOTOZ + QUANTILES in redshift


@lru_cache(maxsize=8)
def _read(note: bytes) -> Following:
    try:
        return _from_card(json.loads(note))
    except (
        ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, TargetselError
    ) as error:  # fmt: skip
        raise CatalogError(
            f"column '{CONTINUUM}': its metadata describe no observation ({error}). Observe the "
            "scored catalog again."
        ) from None


def _from_card(card: Mapping[str, Any]) -> Following:
    spectrograph = Spectrograph.parse(str(card["spectrograph"]), "the spectrograph")
    exposure = Exposure.asked(spectrograph, f"{float(card['time'])!r} s", float(card["snr"]))
    lines = tuple(
        Line(str(proxy), tuple((float(at), float(share)) for at, share in components))
        for proxy, *components in card["lines"]
    )
    centres = tuple(map(float, card["centres"]))
    if not (lines and all(each.components for each in lines)) or not (np.diff(centres) > 0).all():
        raise ValueError("it has no lines, or bands that are not in order")
    return Following(exposure, lines, centres)
