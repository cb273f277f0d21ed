"""Bands, and lists of bands. Their order is always written down and never guessed."""

from __future__ import annotations

from dataclasses import dataclass

from targetsel.errors import CutoutError, did_you_mean


@dataclass(frozen=True)
class Band:
    """A passband.

    Attributes
    ----------
    name : str
        As in cutout stores and ensembles, such as "g".
    survey : str
    wavelength : float
        Effective wavelength [Angstrom].
    """

    name: str
    survey: str
    wavelength: float


# Effective wavelengths: Tonry et al. (2012, ApJ 750, 99), table 4; u is Rubin's.
BANDS = {"u": Band("u", "Rubin", 3750)} | {
    name: Band(name, "Pan-STARRS1", wavelength)
    for name, wavelength in {"g": 4810, "r": 6170, "i": 7520, "z": 8660, "y": 9620}.items()
}


def parse_bands(text: str) -> tuple[str, ...]:
    """The bands that "grizy", "g,r,i" or "g r i" name, in the order written.

    Raises
    ------
    CutoutError
        If a band is unknown or named twice, or there is none.
    """
    words = text.replace(",", " ").split()
    names = tuple(words[0] if len(words) == 1 else words)
    known = ", ".join(BANDS)
    if not names:
        raise CutoutError(f"bands '{text}': no band is named. Name some of {known}, in order.")
    for name in names:
        if name not in BANDS:
            hint = did_you_mean(name, BANDS)
            raise CutoutError(f"bands '{text}': unknown band '{name}'. Known: {known}.{hint}")
        if names.count(name) > 1:
            raise CutoutError(f"bands '{text}': band '{name}' is named twice. Name it once.")
    return names
