"""The specifications of files name every column and every entry that the code declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from targetsel.calibration.calibration import Calibration
from targetsel.calibration.drift import DriftRecord
from targetsel.calibration.recalibration import QuantityRecord, Recalibration
from targetsel.documents.models import DocumentModel
from targetsel.imaging.store import SOURCE, PartFooter
from targetsel.imaging.store_listing import ListedFile, StoreListing
from targetsel.scored.columns import REDSHIFT_LEFT_OUT, scored_columns
from targetsel.scored.simulated_training import CAUTION
from targetsel.scoring.card import EnsembleCard
from targetsel.selection.target_list import TARGETS
from targetsel.spectra.lines import PREDICTABLE
from targetsel.tables.columns import Column

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "files"


def in_general(name: str) -> str:
    """The name of a column, with NAME for the proxy of which it is a statistic."""
    proxy = max((each for each in PREDICTABLE if name.startswith(f"{each}_")), default="", key=len)
    return name if name in PREDICTABLE or not proxy else name.replace(proxy, "NAME", 1)


def names(columns: tuple[Column, ...]) -> set[str]:
    return {in_general(each.name) for each in columns}


def entries(model: type[DocumentModel]) -> set[str]:
    return {each.alias or name for name, each in model.model_fields.items()}


@pytest.mark.parametrize(
    ("page", "declared"),
    [
        ("cutout-store", names(SOURCE.columns) | entries(PartFooter) | {"flux"}),
        ("cutout-store", entries(StoreListing) | entries(ListedFile)),
        ("scored-file", names(scored_columns(6, 5, redshift=True))),
        ("scored-file", {CAUTION, REDSHIFT_LEFT_OUT}),
        ("target-list", names(TARGETS.columns)),
        ("ensemble-card", entries(EnsembleCard)),
        ("calibration-file", entries(Calibration)),
        ("calibration-file", entries(Recalibration) | entries(QuantityRecord)),
        ("calibration-file", entries(DriftRecord)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_specification_names_all_that_is_declared(page, declared):
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    assert declared
    assert not {name for name in declared if f"`{name}" not in text}
