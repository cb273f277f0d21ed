"""Target lists made for a look only."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa

from targetsel.rules.rules import Rules
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList


def trial(rules: Rules, scored: Path, known: tuple[Path, Path] | None = None) -> TargetList:
    """The target list that `select` would write; `known` is as there."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "trial.targets.parquet"
        select(scored, rules, output, known=known)
        return TargetList.read(output)


def members(targets: TargetList, name: str) -> pa.Array:
    """The ids of the members of class `name`; none if the list does not know the class."""
    ids = targets.table["source_id"].combine_chunks()
    if name not in targets.footer["bits"]:
        return ids.slice(0, 0)
    bits = targets.table["target_bits"].to_numpy()
    return ids.filter(pa.array((bits >> targets.footer["bits"][name]) & 1 == 1))
