"""What commands say of an ensemble that predicts redshifts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.cli.calibrate import say_uncalibrated

SAID = (
    "redshifts are predicted but not written: the catalog has the column 'photoz' of its own. "
    "Rename it to have both"
)


@pytest.fixture
def own(redshift_sky, tmp_path):
    """Sixty sources in a file, with a column `photoz` of the catalog's own."""
    table = pq.read_table(redshift_sky.catalog).slice(0, 60)
    path = tmp_path / "own.parquet"
    pq.write_table(table.append_column("photoz", pa.array(np.full(60, 0.5))), path)
    return path


def test_score_says_of_a_file_that_its_own_photoz_stays(targetsel, redshift_sky, own, tmp_path):
    words = ["--cutouts", redshift_sky.cutouts, "--ensemble", redshift_sky.ensemble, "-o"]
    said = targetsel("score", own, *words, tmp_path / "scored.parquet")
    assert said.status == 0, said.err
    assert SAID in said.out.splitlines()


def test_score_says_of_partitions_that_their_own_photoz_stays(
    targetsel, redshift_sky, own, tmp_path
):
    hats, scored = tmp_path / "sky", tmp_path / "scored"
    assert targetsel("partition", own, "-o", hats, "--rows", "60").status == 0
    words = ["--cutouts", redshift_sky.cutouts, "--ensemble", redshift_sky.ensemble]
    said = targetsel("score", hats, *words, "--workers", "1", "-o", scored)
    assert said.status == 0, said.err
    assert SAID in said.out.splitlines()
    table = pq.read_table(next(scored.rglob("Npix*.parquet")))
    assert set(table["photoz"].to_pylist()) == {0.5}
    assert "photoz_quantiles" not in table.column_names


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("d4000", "has no column 'redshift'; join true redshifts to it"),
        ("redshift", "tells that of fewer than 400 sources; give more"),
    ],
)
def test_calibrate_says_why_photoz_stays_as_it_is(column, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"source_id": [1], column: [0.1]}), "truth.parquet")
    say_uncalibrated(
        SimpleNamespace(not_calibrated=("photoz",), maps={"d4000": None}), Path("truth.parquet")
    )
    assert capsys.readouterr().out == f"photoz stays uncalibrated: truth.parquet {said}\n"
