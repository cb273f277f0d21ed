"""The stretch, which turns fluxes into the numbers that a network sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from targetsel.errors import EnsembleError


@dataclass(frozen=True)
class Stretch:
    """Fluxes in units of the sky noise, clipped, then scaled or compressed.

    With x the flux over the sky sigma of its band, clipped to +-`clip`: "linear" gives
    x / scale, "asinh" gives asinh(x / softening) / scale (Lupton et al. 1999, AJ 118, 1406);
    `offset` is then subtracted.

    Attributes
    ----------
    kind : "linear" or "asinh"
    sky_sigma : tuple of B floats
        Standard deviation of the sky in each band [nanomaggy/pixel], in the order of the cutouts'
        bands.
    scale : float
        Value of one unit of the result.
    softening : float
        Flux at which "asinh" turns from linear to logarithmic [sky sigma]; unused by "linear".
    clip : float
        Largest absolute flux kept [sky sigma].
    offset : tuple of B floats
        Subtracted from each band's result; none if empty. Networks that
        were trained on (flux - mean) / std need it.
    """

    kind: str
    sky_sigma: tuple[float, ...]
    scale: float = 1.0
    softening: float = 1.0
    clip: float = 1e6
    offset: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        numbers = (*self.sky_sigma, self.scale, self.softening, self.clip)
        if self.kind not in ("linear", "asinh"):
            raise EnsembleError(f"stretch '{self.kind}': expected 'linear' or 'asinh'.")
        if not self.sky_sigma or not all(0 < number < np.inf for number in numbers):
            raise EnsembleError(
                "stretch: sky_sigma, scale, softening and clip must be positive and finite, "
                f"not {self.to_card()}."
            )
        if self.offset and len(self.offset) != len(self.sky_sigma):
            raise EnsembleError(
                f"stretch: {len(self.offset)} offsets for {len(self.sky_sigma)} bands; expected "
                "one for each, or none."
            )

    def apply(self, flux: np.ndarray) -> np.ndarray:
        """The stretched flux, float32, shape (N, B, H, W).

        Pixels without data (NaN) get the value of zero flux, the level of the sky.

        Parameters
        ----------
        flux : ndarray, shape (N, B, H, W)
            [nanomaggy]
        """
        x = np.clip(flux / self._sigma(), -self.clip, self.clip)
        if self.kind == "asinh":
            x = np.arcsinh(x / self.softening)
        x = np.nan_to_num(x / self.scale, copy=False)
        return (x - self._offset()).astype(np.float32, copy=False)

    def undo(self, stretched: np.ndarray) -> np.ndarray:
        """The flux [nanomaggy] behind stretched pixels, float32, shape (N, B, H, W)."""
        x = (stretched + self._offset()) * np.float32(self.scale)
        if self.kind == "asinh":
            x = np.sinh(x) * np.float32(self.softening)
        return (x * self._sigma()).astype(np.float32, copy=False)

    def to_card(self) -> dict[str, Any]:
        """The stretch as plain values, for an ensemble's JSON card."""
        card: dict[str, Any] = {
            "kind": self.kind,
            "sky_sigma": list(self.sky_sigma),
            "scale": self.scale,
            "softening": self.softening,
            "clip": self.clip,
        }
        return card | ({"offset": list(self.offset)} if self.offset else {})

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Stretch:
        """The stretch that `to_card` described.

        Raises
        ------
        EnsembleError
            If an entry is missing or has a value that cannot be used.
        """
        try:
            return cls(
                kind=str(card["kind"]),
                sky_sigma=tuple(float(sigma) for sigma in card["sky_sigma"]),
                scale=float(card["scale"]),
                softening=float(card["softening"]),
                clip=float(card["clip"]),
                offset=tuple(float(value) for value in card.get("offset", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise EnsembleError(
                f"stretch in the ensemble's card: missing or unusable entry ({error}). "
                "Expected kind, sky_sigma, scale, softening and clip."
            ) from error

    def _offset(self) -> np.ndarray:
        return np.asarray(self.offset or [0.0], dtype=np.float32)[:, None, None]

    def _sigma(self) -> np.ndarray:
        return np.asarray(self.sky_sigma, dtype=np.float32)[:, None, None]
