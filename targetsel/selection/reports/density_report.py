"""The density of a list as one result, and the list with weights that make its density even."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from targetsel.selection.class_reports import ClassReports
from targetsel.selection.reports.density import ALL, Density
from targetsel.selection.reports.evenness import Evenness
from targetsel.selection.target_list import TargetList
from targetsel.tables.columns import Column
from targetsel.tables.parquet import write_table

WEIGHT = "weight_density"


class DensityReport(ClassReports[Density]):
    """The density of all targets, then of each class.

    Attributes
    ----------
    note : str
        In which pixels targets were counted.
    evenness : Evenness or None
        How the density follows maps of the sky, where some were given.
    """

    evenness: Evenness | None = None

    @classmethod
    def of(
        cls,
        densities: Iterable[Density],
        reach: float,
        nside: int,
        scored: Path | None,
        evenness: Evenness | None,
    ) -> Self:
        """The report on densities that were found with these settings."""
        which = "that hold a target" if scored is None else f"where {scored} has sources"
        found = cls(
            densities,
            f"Densities in HEALPix pixels of nside {nside} {which}, over their area in the "
            f"footprint; neighbours within {reach:g} arcsec.",
        )
        found.evenness = evenness
        return found

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row for all targets and for each class, with plain numbers."""
        return [record for each in self for record in each.records]

    def __repr__(self) -> str:
        whole = super().__repr__()
        return whole if self.evenness is None else f"{whole}\n\n{self.evenness!r}"


def weight_column(name: str) -> Column:
    """The column of the weights of a class, or of all targets."""
    of = "all targets" if name == ALL else name
    return Column(
        WEIGHT if name == ALL else f"{WEIGHT}_{name}",
        pa.float64(),
        "",
        "stat.weight",
        f"1 / relative density that maps of the sky predict, of mean 1 over {of}",
        "the target is not of the class, or its pixel is left out",
    )


def write_weights(targets: TargetList, evenness: Evenness, path: Path) -> None:
    """Write a list with its weights, by class, in the format of the path's ending."""
    table = targets.table
    for name, values in evenness.weights.items():
        column = weight_column(name)
        if column.name in table.column_names:
            table = table.drop_columns([column.name])
        weights = pa.array(values, mask=np.isnan(values))
        table = table.append_column(column.field, weights)
    about = {
        "maps": list(evenness.maps),
        "nside": 1 << evenness.order,
        "methods": {
            each.name: each.prediction.method
            for each in evenness.classes
            if each.prediction is not None
        },
    }
    write_table(table, path, targets.footer | {"evenness": about})
