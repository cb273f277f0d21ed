"""A calibration: what turns the networks' posterior into one that covers as often as it claims.

It lies beside the ensemble it was fitted for, as `calibration.json`, with a card of its own that
says on which sources it was fitted and what it did to others. `calibrating` fits one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.calibration.classes import ClassMap
from targetsel.calibration.decoder_residual import DecoderResidual
from targetsel.calibration.latents import LatentCalibration
from targetsel.calibration.proxies import ScoreMap, calibrated
from targetsel.errors import EnsembleError
from targetsel.networks.posterior import LatentPosterior
from targetsel.spectra.lines import BPT_CLASSES
from targetsel.spectra.proxies import Proxies
from targetsel.tables.files import written_beside

SCHEMA = "targetsel/calibration/v2"
FILE_NAME = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """Four steps from a predicted posterior to a calibrated one.

    Attributes
    ----------
    latents : LatentCalibration or None
        None where no true latents were known.
    residual : DecoderResidual or None
        What decoding leaves out of the proxies.
    maps : mapping of proxy name to ScoreMap
        What remains to be corrected of each proxy.
    classes : ClassMap or None
        The same of the classes in the [NII] diagram.
    card : dict
        What it was fitted on, for which ensemble, and how well it does.
    """

    latents: LatentCalibration | None
    residual: DecoderResidual | None
    maps: Mapping[str, ScoreMap]
    card: dict[str, Any]
    classes: ClassMap | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self._bytes()).hexdigest()

    @property
    def provenance(self) -> dict[str, Any]:
        """What a scored file says of it."""
        names = ("truth_sha256", "n_fitted", "simulated")
        return {"sha256": self.sha256} | {name: self.card[name] for name in names}

    @property
    def said(self) -> str:
        """What a command says of it."""
        simulated = " (simulated)" if self.card["simulated"] else ""
        return f"calibrated on {self.card['n_fitted']:,} sources of known spectra{simulated}"

    def posterior(self, posterior: LatentPosterior, magnitude: np.ndarray) -> LatentPosterior:
        """The calibrated posterior of N sources, from the predicted one.

        Parameters
        ----------
        magnitude : ndarray, shape (N,)
            As `imaging.measurements.central_magnitude` gives it.
        """
        return posterior if self.latents is None else self.latents.apply(posterior, magnitude)

    def proxies(self, proxies: Proxies, magnitude: np.ndarray, seed: int) -> Proxies:
        """Calibrated draws, from those measured on decoded draws of the calibrated posterior."""
        return calibrated(self.complete(proxies, seed), self.maps, magnitude)

    def complete(self, proxies: Proxies, seed: int) -> Proxies:
        """The draws with what decoding leaves out of them."""
        return proxies if self.residual is None else self.residual.add(proxies, seed)

    def class_probabilities(self, shares: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Of classes, from their shares among the calibrated draws; each of shape (N,)."""
        return shares if self.classes is None else self.classes(shares)

    # ------------------------------------------------------------------ reading, writing

    def _bytes(self) -> bytes:
        whole = {
            "schema": SCHEMA,
            **self.card,
            "latents": self.latents and self.latents.to_card(),
            "residual": self.residual and self.residual.to_card(),
            "proxies": {name: each.to_card() for name, each in self.maps.items()},
            "classes": self.classes and self.classes.to_card(),
        }
        return (json.dumps(whole, sort_keys=True, allow_nan=False) + "\n").encode()

    def write(self, folder: Path) -> None:
        """Write it into an ensemble's directory; one that is there is replaced."""
        with written_beside(folder / FILE_NAME) as beside:
            beside.write_bytes(self._bytes())

    @classmethod
    def read(cls, folder: Path, ensemble_sha256: str, n_latents: int) -> Calibration | None:
        """The calibration in an ensemble's directory, if there is one.

        Raises
        ------
        EnsembleError
            If it is damaged, or was fitted for another ensemble.
        """
        path = folder / FILE_NAME
        if not path.exists():
            return None
        again = "Fit it again with 'targetsel calibrate', or remove it."
        try:
            whole = json.loads(path.read_bytes(), parse_constant=_refuse)
            if whole["schema"] != SCHEMA:
                raise ValueError(f"schema is {whole['schema']!r}, expected '{SCHEMA}'")
            fitted_for = whole["ensemble"]["sha256"]
            calibration = cls._of(whole, n_latents)
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise EnsembleError(f"{path}: damaged: {_line(error)}. {again}") from None
        except KeyError as error:
            raise EnsembleError(f"{path}: damaged: entry {error} is missing. {again}") from None
        if fitted_for != ensemble_sha256:
            raise EnsembleError(
                f"{path}: was fitted for the ensemble {str(fitted_for)[:12]}, but the one beside "
                f"it is {ensemble_sha256[:12]}. {again}"
            )
        return calibration

    @classmethod
    def _of(cls, whole: dict[str, Any], n_latents: int) -> Calibration:
        parts = ("schema", "latents", "residual", "proxies", "classes")
        latents, residual, proxies, classes = (whole[name] for name in parts[1:])
        return cls(
            LatentCalibration.from_card(latents, n_latents) if latents else None,
            DecoderResidual.from_card(residual) if residual else None,
            {name: ScoreMap.from_card(card) for name, card in proxies.items()},
            {name: value for name, value in whole.items() if name not in parts},
            ClassMap.from_card(classes, BPT_CLASSES) if classes else None,
        )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
