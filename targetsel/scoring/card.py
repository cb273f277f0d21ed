"""The card of an ensemble: all that a prediction depends on, as stored in `card.json`.

Programs build a card as plain values and write them with `card_bytes`; whatever is read from disk
is checked against `EnsembleCard` first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from targetsel.documents.models import DocumentModel, Expected, read_model
from targetsel.errors import EnsembleError
from targetsel.networks.input_plan import InputPlan
from targetsel.networks.network import NetworkPlan
from targetsel.networks.vector_plan import VectorPlan
from targetsel.photometry.selection_weights import SelectionRecord

SCHEMA = "targetsel/ensemble/v1"
ALWAYS = ("decoder.safetensors", "novelty.safetensors")  # files beside those of the members

Sha256 = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Expected("a SHA-256 of 64 digits")
]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Normalisation(DocumentModel):
    """Normalisation of an imported network's input: (flux - mean) / std in each band."""

    mean: list[float]
    std: list[Positive]
    origin: str = "given"
    unit: str = "nanomaggy"
    note: str = "the stretch divides by std and subtracts mean / std"

    @model_validator(mode="after")
    def _check_lengths(self) -> Normalisation:
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations, expected as many"
            )
        return self


class PartCard(DocumentModel):
    """Sources of one part of a training."""

    n: Count
    ids_sha256: Sha256


class TrainingCard(DocumentModel):
    """Sources that the networks were trained on, and the recipe."""

    store_sha256: Sha256
    labels_sha256: Sha256
    started_from: Sha256 | None = None
    n_sources: Count
    n_groups: Count
    left_out: dict[str, Count]
    recipe: dict[str, Any]
    split: dict[str, PartCard]
    label_noise: list[float]
    support: dict[str, Any]
    split_seed: int | None = None
    selection: SelectionRecord | None = None


class HalfPrecisionCard(DocumentModel):
    """Rounding of the weights to half precision, and its effect on proxies."""

    weights: bool
    largest_change: float
    of: str


class ImportCard(DocumentModel):
    """A published file of weights, and the name that each of its tensors got."""

    file: str
    sha256: Sha256
    tensors: dict[str, str]


class EnsembleCard(DocumentModel):
    """Schema of `card.json`."""

    schema_: Literal["targetsel/ensemble/v1"] = Field(alias="schema")
    name: str = ""
    description: str = ""
    simulated: bool = False
    code_version: str = ""
    input: InputPlan | None = Field(None, description="the cutouts that it takes, if it does")
    embeddings: VectorPlan | None = Field(None, description="the vectors that it takes, if it does")
    normalisation: Normalisation | None = None
    network: NetworkPlan = Field(description="the plan of most members")
    networks: dict[str, NetworkPlan] = Field(
        {}, description="plans of other members, by their files"
    )
    latents: dict[str, Any] = Field({})
    aperture: Positive | None = Field(
        None, description="diameter of the fiber that spectra were taken with [arcsec], if stated"
    )
    training: TrainingCard | None = None
    half_precision: HalfPrecisionCard | None = None
    validation: dict[str, Any] = Field({})
    novelty: str = ""
    imported: list[ImportCard] = Field([])
    files: dict[str, Sha256] = Field(description="the SHA-256 of each file beside the card")

    @model_validator(mode="before")
    @classmethod
    def _check_schema(cls, data: Any) -> Any:
        """Refuse other formats before any other check, since all their entries may differ."""
        found = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
        if found != SCHEMA:
            raise ValueError(f"schema is {found!r}, expected '{SCHEMA}'")
        return data

    @model_validator(mode="after")
    def _check_inputs(self) -> EnsembleCard:
        if self.input is None and self.embeddings is None:
            raise ValueError("has neither 'input' nor 'embeddings', so its networks see nothing")
        return self

    @field_validator("files")
    @classmethod
    def _check_files(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if Path(name).name != name:
                raise ValueError(f"'{name}' is not a plain file name")
        if missing := [name for name in ALWAYS if name not in files]:
            raise ValueError(f"entry 'files' lacks {', '.join(missing)}")
        if not members_in(files):
            raise ValueError("no file 'member-K.safetensors' is listed")
        return files


def read_card(folder: Path) -> dict[str, Any]:
    """The card in an ensemble's folder, checked against `EnsembleCard`.

    Raises
    ------
    EnsembleError
        If it is missing, damaged, of another format, or has an invalid value.
    """
    path = folder / "card.json"
    if not path.exists():
        raise EnsembleError(
            f"{folder}: has no card.json, so it is not an ensemble. Name the folder of one."
        )
    try:
        read_model(path, EnsembleCard, EnsembleError)
    except EnsembleError as error:  # programs write cards, so a caret would not help
        told = str(error) + "." * (str(error)[-1] not in ".?")
        raise EnsembleError(f"{told} Copy the whole folder of the ensemble again.") from None
    card: dict[str, Any] = json.loads(path.read_bytes())
    return card


def card_bytes(card: Mapping[str, Any]) -> bytes:
    """The bytes of `card.json`; their hash identifies the ensemble."""
    return (json.dumps(card, indent=1, sort_keys=True) + "\n").encode()


def members_in(files: Mapping[str, str]) -> list[str]:
    """Names of the networks' files, in the order of their numbers."""
    names = [name for name in files if name.startswith("member-")]
    return sorted(names, key=lambda name: (len(name), name))
