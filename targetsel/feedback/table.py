"""The table of what came of each target of a list, from which an ensemble can learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.feedback.observed import ObservedTargets
from targetsel.scored.truth import OUTCOMES_FORMAT
from targetsel.spectra.lines import PROXIES, UNITS
from targetsel.spectra.photoz import PHOTOZ, TRUE
from targetsel.tables.columns import ID, NEVER, Column, FileKind
from targetsel.tables.parquet import SIMULATED, write_table

_NO_LINE = "the spectrum failed, or the line could not be measured on it"
OUTCOMES = FileKind(
    "a table of outcomes",
    (
        Column("target_id", pa.int64(), "", "meta.id;meta.main", "Id in the list", NEVER),
        Column("source_id", ID, "", "meta.id", "Id in the catalog", NEVER),
        Column("program", pa.string(), "", "meta.id;obs.proposal", "Class in the list", NEVER),
        Column(
            "probability",
            pa.float32(),
            "",
            "stat.probability",
            "Probability of the class's claim that the list states",
            "the list states none",
        ),
        Column("assigned", pa.bool_(), "", "meta.code", "Whether it got a fiber that works", NEVER),
        Column(
            "success",
            pa.bool_(),
            "",
            "meta.code.qual",
            "Whether its spectrum has a result and no warning",
            "it got no fiber",
        ),
        Column(
            "claim_true",
            pa.bool_(),
            "",
            "meta.code",
            "Whether the class's claim came true",
            "that is not known",
        ),
        Column(
            "weight",
            pa.float64(),
            "",
            "stat.weight",
            "Sources that it stands for, of the candidates of any class: 1 / (chance of a fiber x "
            "inclusion); 0 without a fiber",
            NEVER,
        ),
        Column(TRUE, pa.float64(), "", "src.redshift", "Measured redshift", _NO_LINE, False),
        *(
            Column(name, pa.float64(), UNITS[name], "", "Measured on the spectrum", _NO_LINE, False)
            for name in PROXIES
        ),
    ),
    "Make one with 'targetsel outcomes'.",
)


def write_outcomes(
    observed: ObservedTargets, path: Path, figures: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Write what came of each target, in the order of the list.

    Parameters
    ----------
    figures : mapping of sequences of mappings
        Rows of figures by their kind, for the footer.
    """
    table = observed.targets.table
    claim = np.full(len(observed), np.nan)
    for name, true in observed.claims.items():
        here = observed.program == name
        claim[here] = true[here]
    values: dict[str, pa.Array] = {
        "target_id": table["target_id"].combine_chunks(),
        "source_id": table["source_id"].combine_chunks(),
        "program": table["program"].combine_chunks(),
        "probability": table["probability"].combine_chunks(),
        "assigned": pa.array(observed.assigned),
        "success": pa.array(observed.success, mask=~observed.assigned),
        "claim_true": pa.array(claim == 1, mask=np.isnan(claim)),
        "weight": pa.array(observed.weight_of_any),
    }
    for name, each in observed.measured.items():
        values[TRUE if name == PHOTOZ else name] = pa.array(each, from_pandas=True)
    columns = [each for each in OUTCOMES.columns if each.name in values]
    fields = [
        each.field.with_type(values[each.name].type) if each.type == ID else each.field
        for each in columns
    ]
    arrays = [pa.array(values[f.name]).cast(f.type) for f in fields]
    keys = ("rules_name", "rules_sha256", "ensemble", "calibration")
    footer = {
        "format": OUTCOMES_FORMAT,
        **{key: observed.targets.footer.get(key) for key in keys},
        "assignment_given": observed.given,
        "weights": "inclusion" if observed.inclusion.known else "list",
        "rows": dict(observed.counts),
        **{kind: [_plain(each) for each in rows] for kind, rows in figures.items()},
        **(SIMULATED if observed.simulated else {}),
    }
    write_table(pa.table(arrays, schema=pa.schema(fields)), path, footer)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of figures for JSON, in which NaN is null."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in row.items()
    }
