"""What is known of a survey's images beforehand, for files that do not say it themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from targetsel.errors import CutoutError

SAME_SCALE = 0.01  # relative difference of pixel scales that count as one
# Units of BUNIT that a detector counts in, a second or in all.
DETECTOR_COUNTS = re.compile(r"(?i)\s*(adu|dn|counts?|ct|e-?|electrons?|photons?)\b")


class KnownImages(Protocol):
    """The part of a survey's card that packing takes; see `surveys.card.SurveyCard`."""

    @property
    def name(self) -> str: ...
    @property
    def band_names(self) -> tuple[str, ...]: ...
    @property
    def pixel_scale(self) -> float: ...
    @property
    def zeropoint(self) -> float | None: ...
    @property
    def unit(self) -> str: ...
    @property
    def mask_bits(self) -> Mapping[str, int]: ...


def check_of_survey(
    place: object, bands: tuple[str, ...], pixel_scale: float | None, known: KnownImages
) -> None:
    """Refuse images that are none of the survey's.

    Parameters
    ----------
    pixel_scale : float or None
        As the files say it [arcsec].

    Raises
    ------
    CutoutError
        If a band is none of the survey's, or the pixels have another scale.
    """
    if other := [band for band in bands if band not in known.band_names]:
        raise CutoutError(
            f"{place}: survey '{known.name}' has no band '{other[0]}'; expected some of "
            f"{', '.join(known.band_names)}. Name the survey of these images."
        )
    if pixel_scale and abs(pixel_scale / known.pixel_scale - 1) > SAME_SCALE:
        raise CutoutError(
            f"{place}: its pixels are {pixel_scale:g} arcsec, but those of survey '{known.name}' "
            f"are {known.pixel_scale:g}. Give --pixel-scale for resampled images, or name their "
            "survey."
        )


def zeropoint_of_survey(
    place: object, unit: str, known: KnownImages | None, is_flux: bool
) -> float | None:
    """The AB magnitude of one count by the survey's card, if it tells it.

    Parameters
    ----------
    unit : str
        BUNIT of the image.
    known : KnownImages or None
    is_flux : bool
        Whether the survey's own unit is one of flux.

    Raises
    ------
    CutoutError
        If the image holds a detector's counts, but the survey's are fluxes.
    """
    if known is None:
        return None
    if is_flux and DETECTOR_COUNTS.match(unit):
        raise CutoutError(
            f"{place}: BUNIT is '{unit}', but images of survey '{known.name}' are in {known.unit}. "
            "Give --zeropoint, the AB magnitude of one count."
        )
    return known.zeropoint


def unusable(
    mask: np.ndarray,
    bits: Mapping[str, int],
    bands: tuple[str, ...],
    shape: tuple[int, ...],
    place: object,
) -> np.ndarray:
    """Which pixels a mask makes unusable, bool, shape (B, H, W).

    A bit whose name ends in a band, such as SATUR_G, holds in that band alone.

    Parameters
    ----------
    mask : ndarray of int, shape (H, W) or (B, H, W)
    bits : mapping of str to int
        Numbers of the bits that make a pixel unusable.
    bands : tuple of B strings
        Empty where they are not known.
    shape : (B, H, W)
        Of the image.

    Raises
    ------
    CutoutError
        If the mask has another shape, or is no whole number.
    """
    if mask.dtype.kind not in "iu" or mask.shape[-2:] != shape[-2:] or mask.ndim not in (2, 3):
        raise CutoutError(
            f"{place}: its mask has shape {mask.shape} and type {mask.dtype}; expected "
            f"whole numbers of shape {shape[-2:]}. Take the mask out, or leave --survey out."
        )
    if mask.ndim == 3 and len(mask) != shape[0]:
        raise CutoutError(
            f"{place}: its mask has {len(mask)} planes, but the image {shape[0]}; expected as "
            "many, or one. Take the mask out, or leave --survey out."
        )
    whole = np.broadcast_to(mask.astype(np.int64), shape)
    bad = np.zeros(shape, dtype=bool)
    for name, bit in bits.items():
        ending = name.rpartition("_")[2].lower()
        of_one = [k for k, band in enumerate(bands) if "_" in name and band.lower() == ending]
        planes = of_one or range(shape[0])
        if "_" in name and len(ending) == 1 and bands and not of_one:
            continue  # of a band that is not here
        for k in planes:
            bad[k] |= (whole[k] >> bit) & 1 == 1
    return bad
