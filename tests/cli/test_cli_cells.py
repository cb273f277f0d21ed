"""`targetsel cells`, as it is typed."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.feature_cells.four_groups import four_groups, written


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(four_groups(), "scored.parquet")
    pq.write_table(pa.table({"source_id": [1, 2, 3], "redshift": [0.1] * 3}), "taken.parquet")
    return tmp_path


def test_it_says_where_spectra_are_and_writes_catalog_and_picture(folder, targetsel):
    said = targetsel("cells", "scored.parquet", "--cells", "4", "--known", "taken.parquet",
                     "-o", "cells.parquet", "--picture", "cells.svg").out  # fmt: skip
    assert said.startswith("1,000 sources in 4 cells of 2 latents\n")
    assert "3 sources of cells have a spectrum; 3 cells, with 60% of the sources, have none" in said
    assert said.endswith("written to cells.parquet\npicture written to cells.svg\n")
    assert pq.read_table("cells.parquet")["cell_known"][0].as_py() == 3
    said = targetsel("cells", "scored.parquet", "--like", "cells.parquet", "-o", "b.parquet").out
    assert "nothing says which sources have a spectrum" in said
    assert pq.read_table("b.parquet")["cell"] == pq.read_table("cells.parquet")["cell"]


def test_without_spectra_it_speaks_of_targets_alone(folder, targetsel):
    rules = "schema: targetsel/rules/v1\nname: few\nclasses:\n  A: {priority: 1, where: ra < 11}\n"
    (folder / "few.yaml").write_text(rules)
    targetsel("select", "scored.parquet", "--rules", "few.yaml", "-o", "few.parquet")
    given = ("cells", "scored.parquet", "--cells", "4", "--targets", "few.parquet")
    said = targetsel(*given, "-o", "a.parquet").out
    assert "sources are targets; 0 cells have no target\n" in said
    said = targetsel(*given, "--known", "taken.parquet", "-o", "b.parquet").out
    assert "0 cells without a spectrum have no target either\n" in said
