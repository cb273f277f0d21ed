"""A calibration: converts the networks' posterior into one with correct coverage.

It is stored beside the ensemble that it was fitted for, as `calibration.json`, with notes on the
sources that it was fitted to and on its effect on others. `fitting` fits one. Recalibrations, which
what came of targets taught, stand behind its steps, and are applied to scored rows one by one (see
`scoring.recalibrating`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, PlainSerializer, PrivateAttr, field_validator, model_validator

from targetsel.calibration.joint import JointCalibration
from targetsel.calibration.latents import LatentCalibration
from targetsel.calibration.local import LocalScores
from targetsel.calibration.proxies import ClassMap, DecoderResidual, ScoreMap, calibrated
from targetsel.calibration.recalibration import Recalibration
from targetsel.documents.models import DocumentModel, FromList, read_model
from targetsel.errors import EnsembleError
from targetsel.networks.posterior import LatentPosterior
from targetsel.photometry.selection_weights import SelectionRecord
from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.lines import BPT_CLASSES, PREDICTABLE, PROXIES
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import ProxyPosterior
from targetsel.tables.files import written_beside

FILE_NAME = "calibration.json"
CALIBRATED = "calibrated"  # name of a calibration without recalibrations
_AGAIN = "Fit it again with 'targetsel calibrate', or remove it."


class CalibrationSteps(DocumentModel):
    """Six steps from a predicted posterior to a calibrated one.

    Attributes
    ----------
    latents : LatentCalibration or None
        None where no true latents were known.
    residual : DecoderResidual or None
        Distribution of true minus decoded proxies.
    maps : dict of ScoreMap
        Correction of each proxy's remaining error.
    local : LocalScores or None
        Correction of what remains of it in some places, by all that is predicted.
    joint : JointCalibration or None
        How proxies go together.
    classes : ClassMap or None
        Correction of the probabilities of the classes in the [NII] diagram.
    """

    latents: LatentCalibration | None
    residual: DecoderResidual | None
    maps: dict[str, ScoreMap] = Field(alias="proxies")
    local: LocalScores | None
    joint: JointCalibration | None
    classes: ClassMap | None

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: ClassMap | None) -> ClassMap | None:
        if classes is not None and {*classes.coefficients} != {*BPT_CLASSES}:
            names = ", ".join(classes.coefficients)
            raise ValueError(f"classes are {names}, expected {', '.join(BPT_CLASSES)}")
        return classes

    @model_validator(mode="after")
    def _check_local(self) -> CalibrationSteps:
        if self.local is not None:
            for name in (*self.local.names, *self.local.shift):
                if name not in self.maps:
                    raise ValueError(f"the local calibration is of '{name}', which has no map")
        return self

    def posterior(self, posterior: LatentPosterior, magnitude: np.ndarray) -> LatentPosterior:
        """The calibrated posterior of N sources, from the predicted one.

        Parameters
        ----------
        magnitude : ndarray, shape (N,)
            Result of `imaging.measurements.central_magnitude` [mag].
        """
        return posterior if self.latents is None else self.latents.apply(posterior, magnitude)

    def complete(self, draws: ProxyDraws, seed: int) -> ProxyDraws:
        """The draws with draws of the decoder residual added."""
        return draws if self.residual is None else self.residual.add(draws, seed)

    def proxies(self, posterior: ProxyPosterior, magnitude: np.ndarray) -> ProxyPosterior:
        """The calibrated posterior of N sources, from that of complete draws.

        Parameters
        ----------
        magnitude : ndarray, shape (N,)
        """
        return calibrated(posterior, self.maps, magnitude, self.local)

    def class_probabilities(self, shares: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Class probabilities from shares of the calibrated draws; each of shape (N,)."""
        return shares if self.classes is None else self.classes(shares)


UNCALIBRATED = CalibrationSteps(
    latents=None, residual=None, proxies={}, local=None, joint=None, classes=None
)
Rounded = Annotated[float, PlainSerializer(lambda value: round(value, 4))]


class Coverage(DocumentModel):
    """Coverage of a central 90 % interval, over n sources that took no part in fitting.

    Before and after calibration; over all of them, and the one farthest from 90 % among bins of
    brightness.
    """

    n: int
    before: Rounded
    after: Rounded
    worst_before: Rounded
    worst_after: Rounded


class Calibration(CalibrationSteps):
    """The content of a `calibration.json`: the steps, and a record of how they were fitted."""

    schema_: Literal["targetsel/calibration/v4"] = Field("targetsel/calibration/v4", alias="schema")
    code_version: str
    ensemble: dict[Literal["name", "sha256"], str]
    truth_sha256: str
    simulated: bool
    n_fitted: int
    n_checked: int
    checked: str = "of a first fit, to all others; then the calibration was fitted to all"
    left_out: dict[str, int] = Field(description="sources, by the reason")
    draws: dict[Literal["seed", "n"], int]
    magnitude: str = "AB, of the cutout's central light; see imaging/measurements.py"
    selection: SelectionRecord | None = Field(
        None, description="how the sources were weighted like a target catalog, if they were"
    )
    coverage_of_90_percent: dict[str, Coverage] = Field(description="of each latent and proxy")
    recalibrations: Annotated[tuple[Recalibration, ...], FromList] = Field(
        (), description="of what came of targets, the first one first"
    )
    _predicted: tuple[str, ...] = PrivateAttr(PROXIES)  # by its ensemble

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self._bytes()).hexdigest()

    @property
    def name(self) -> str:
        """Name of the last recalibration; "calibrated" without one."""
        return self.recalibrations[-1].name if self.recalibrations else CALIBRATED

    @property
    def versions(self) -> tuple[Calibration, ...]:
        """It without recalibrations, with the first of them, and so on; the last one is itself."""
        shorter = (self._with(self.recalibrations[:k]) for k in range(len(self.recalibrations)))
        return (*shorter, self)

    def recalibrated(self, recalibration: Recalibration) -> Calibration:
        """The same with one more recalibration, which was fitted on it."""
        return self._with((*self.recalibrations, recalibration))

    def _with(self, recalibrations: tuple[Recalibration, ...]) -> Calibration:
        found = self.model_copy(update={"recalibrations": recalibrations})
        return found.of_predicted(self._predicted)

    @property
    def not_calibrated(self) -> tuple[str, ...]:
        """Quantities that it has no map of, so that only latents are calibrated for them."""
        return tuple(name for name in self._predicted if name not in self.maps)

    def of_predicted(self, names: tuple[str, ...]) -> Self:
        """The same, of an ensemble that predicts these quantities beside latents."""
        found = self.model_copy()
        found._predicted = names
        return found

    @property
    def provenance(self) -> dict[str, Any]:
        """Entry of a scored file's footer."""
        without = {"not_calibrated": list(self.not_calibrated)} if self.not_calibrated else {}
        learnt = [
            {"name": each.name, "n": each.n, "outcomes": each.outcomes}
            for each in self.recalibrations
        ]
        return without | {
            "name": self.name,
            "sha256": self.sha256,
            "truth_sha256": self.truth_sha256,
            "n_fitted": self.n_fitted,
            "simulated": self.simulated,
            "joint": self.joint is not None,
            **({"recalibrations": learnt} if learnt else {}),
        }

    @property
    def summary(self) -> str:
        """Description in one line, for the terminal."""
        simulated = " (simulated)" if self.simulated else ""
        known = f"calibrated on {self.n_fitted:,} labelled sources{simulated}"
        if not self.maps:
            return f"latents {known}; no line strengths"
        what = "posteriors" if self.latents is not None else "line strengths"
        for each in self.recalibrations:
            known += f"; '{each.name}': recalibrated on {each.n:,} outcomes"
        if not self.not_calibrated:
            return f"{what} {known}"
        sources = (
            "sources of known redshifts" if self.not_calibrated == (PHOTOZ,) else "labelled sources"
        )
        return (
            f"{what} {known}; not {', '.join(self.not_calibrated)}: score {sources} with "
            "--uncalibrated and fit it again with 'targetsel calibrate --force'"
        )

    def _bytes(self) -> bytes:
        without = {"selection"} if self.selection is None else set()
        without |= set() if self.recalibrations else {"recalibrations"}
        content = self.model_dump(mode="json", by_alias=True, exclude=without)
        return (json.dumps(content, sort_keys=True, allow_nan=False) + "\n").encode()

    def write(self, folder: str | Path) -> None:
        """Write it into an ensemble's folder, replacing one that is there."""
        with written_beside(Path(folder) / FILE_NAME) as beside:
            beside.write_bytes(self._bytes())

    @classmethod
    def read(
        cls, folder: Path, ensemble_sha256: str, n_latents: int, redshift: bool = False
    ) -> Calibration | None:
        """The calibration in an ensemble's folder, if there is one.

        Parameters
        ----------
        n_latents : int
            Latents of the ensemble's decoder.
        redshift : bool
            Whether the ensemble predicts the redshift too.

        Raises
        ------
        EnsembleError
            If it is damaged, or was fitted for another ensemble.
        """
        path = folder / FILE_NAME
        if not path.exists():
            return None
        try:
            found = read_model(path, cls, EnsembleError)
        except EnsembleError as error:
            raise EnsembleError(f"{error} {_AGAIN}") from None
        fitted_for = found.ensemble.get("sha256", "")
        if fitted_for != ensemble_sha256:
            raise EnsembleError(
                f"{path}: was fitted for the ensemble {fitted_for[:12]}, but the one beside it is "
                f"{ensemble_sha256[:12]}. {_AGAIN}"
            )
        sizes = (n_latents, n_latents + redshift)
        if found.latents is not None and found.latents.n_latents not in sizes:
            raise EnsembleError(
                f"{path}: is of {found.latents.n_latents} latents, but the ensemble's decoder has "
                f"{n_latents}. {_AGAIN}"
            )
        predicted = PREDICTABLE if redshift else PROXIES
        decoded = found.residual.names if found.residual else ()
        unknown = ({*found.maps} - {*predicted}) | ({*decoded} - {*PROXIES})
        for each in found.recalibrations:
            unknown |= {*each.maps} - {*predicted}
        if unknown:
            raise EnsembleError(
                f"{path}: is of '{min(unknown)}', which is not predicted. Mark it so in "
                f"spectra/data/lines.yaml. {_AGAIN}"
            )
        found = found.of_predicted(predicted)
        for each, version in zip(found.recalibrations, found.versions, strict=False):
            if each.of != version.sha256:
                raise EnsembleError(
                    f"{path}: its recalibration '{each.name}' was fitted on the calibration "
                    f"{each.of[:12]}, but what stands before it is {version.sha256[:12]}. Copy the "
                    "folder that 'targetsel relearn' wrote again."
                )
        return found
