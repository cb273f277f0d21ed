"""The example in Python and the command line are the same walk."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from targetsel.sky.catalog import Catalog, Footprint
from tests.cli.typed import Typed

WALK = Path(__file__).parents[2] / "examples" / "walk.py"

# Looser than the shipped rules, because few sources are here.
RULES = """\
schema: targetsel/rules/v1
name: emission
classes:
  LIKELY:
    bit: 1
    priority: 2
    where: P(ew_halpha > 10 Angstrom) > 0.4
    rank: P(ew_halpha > 10 Angstrom)
    limit: {total: 10}
  OLD: {bit: 0, priority: 1, where: d4000 > 1.4}
"""


def assert_same_targets(written, walked):
    """The same rows in the same order; batches differ, so numbers agree to 1e-5 only."""
    assert written.schema.equals(walked.schema)
    assert len(written) == len(walked)
    for name in written.column_names:
        ours, theirs = written[name], walked[name]
        if str(ours.type) in ("float", "double"):
            pair = [column.to_numpy().astype(float) for column in (ours, theirs)]
            np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-5, err_msg=name)
        else:
            assert ours.to_pylist() == theirs.to_pylist(), name


def test_command_and_function_write_the_same_target_list(
    demonstration, tmp_path, monkeypatch, capsys
):
    shutil.copy(demonstration / "catalog.parquet", tmp_path)
    shutil.copytree(demonstration / "cutouts", tmp_path / "cutouts")
    monkeypatch.chdir(tmp_path)
    Path("emission.yaml").write_text(RULES)
    everywhere = Footprint.everywhere()
    monkeypatch.setattr(Footprint, "cone", lambda *place, radius_deg: everywhere)
    walked = runpy.run_path(str(WALK))["walk"](tmp_path)
    targetsel = Typed(monkeypatch, capsys)
    assert targetsel("score", "catalog.parquet").status == 0
    assert targetsel("select", "--rules", "emission").status == 0
    written = pq.read_table("emission.targets.parquet")
    assert 10 < len(written) <= 40
    assert_same_targets(written, walked.table)


def test_cone_of_the_example_is_a_cut_of_the_catalog(demonstration):
    catalog = Catalog.read(demonstration / "catalog.parquet")
    inside = Footprint.cone(catalog.ra[0], catalog.dec[0], radius_deg=8.0).select(catalog)
    walked = runpy.run_path(str(WALK))["walk"](demonstration)
    assert catalog.source_id[0] in inside.source_id
    assert set(walked.table["source_id"].to_pylist()) <= set(inside.source_id.tolist())
