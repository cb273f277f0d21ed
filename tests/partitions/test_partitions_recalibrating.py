"""A scored HATS catalog recalibrated in partitions: the rows that the whole catalog gets."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.calibration.proxies import ScoreMap
from targetsel.calibration.recalibration import QuantityRecord, Recalibration
from targetsel.errors import CatalogError, EnsembleError, OutputError
from targetsel.jobs.job import Job
from targetsel.partitions.catalog_job import HowToRun
from targetsel.partitions.recalibrating import recalibrate_partitions, work_of
from targetsel.partitions.scoring import HowToScore, score_partitions
from targetsel.scored.file import ScoredFile
from targetsel.scoring.ensemble import find_ensemble
from targetsel.scoring.recalibrating import stored_calibration
from targetsel.scoring.rows import ScoreOptions
from targetsel.spectra.proxies import NORMAL_SCORES
from targetsel.tables.hats import HatsCatalog
from tests.cli.typed import Typed
from tests.partitions.conftest import in_this_process


@pytest.fixture(scope="module")
def scored(hats, demonstration, tmp_path_factory):
    """The partitions scored by the shipped ensemble; read only."""
    how = HowToScore(demonstration / "cutouts", "mock-ps1", ScoreOptions(n_draws=16))
    output = tmp_path_factory.mktemp("partitions") / "shipped"
    return score_partitions(HatsCatalog.open(hats), how, output, HowToRun(in_this_process)).output


@pytest.fixture
def learnt(tmp_path):
    """The shipped ensemble with a recalibration of one line to twice its scatter."""
    folder = tmp_path / "learnt"
    shutil.copytree(find_ensemble("mock-ps1"), folder)
    _, found = stored_calibration(folder)
    rng, middle = np.random.default_rng(0), np.zeros(400)
    about = np.linspace(15, 19, 400), np.ones(400)
    scores = ScoreMap.fit(middle[:, None] + NORMAL_SCORES, 2 * rng.normal(size=400), *about)
    step = Recalibration(
        name="wider",
        of=found.sha256,
        code_version="0",
        outcomes=[],
        unweighted=[],
        of_lists=[],
        simulated=True,
        counts={},
        quantities={"ew_halpha": QuantityRecord(n=400, effective=400, reach=(20.0, 40.0))},
        proxies={"ew_halpha": scores},
        classes=None,
    )
    found.recalibrated(step).write(folder)
    return folder


@pytest.fixture
def recalibrate(scored, learnt, tmp_path):
    def recalibrate(output="recalibrated", shard=None, catalog=None):
        run = HowToRun(in_this_process, shard)
        whole = HatsCatalog.open(catalog or scored)
        return recalibrate_partitions(whole, learnt, tmp_path / output, run)

    return recalibrate


def rows_of(root):
    catalog = HatsCatalog.open(root)
    return pa.concat_tables([pq.read_table(catalog.path_of(each)) for each in catalog.pixels])


def test_partitions_hold_the_rows_of_the_whole_catalog_recalibrated(recalibrate, scored, learnt):
    found = recalibrate()
    assert found.is_finished
    whole = ts.recalibrate(scored, learnt)
    rows = rows_of(found.output)
    assert str(rows.to_pylist()) == str(whole.table.to_pylist())
    for each in (found.outcome, whole.run):
        assert each.n_predicted == whole.run.n_predicted > 0
        assert each.n_sources == len(rows)
        assert [step.name for step in each.applied] == ["wider"]
    assert found.outcome.n_beyond == whole.run.n_beyond
    assert whole.run.n_beyond["ew_halpha"] > 0
    with ScoredFile(found.output) as file:
        assert file.footer == whole.footer
        assert file.footer["calibration"]["name"] == "wider"


def test_shards_and_commands_write_the_same_rows(
    recalibrate, scored, learnt, tmp_path, monkeypatch, capsys
):
    expected = rows_of(recalibrate().output)
    assert not recalibrate("shards", "1/2").is_finished
    said = Typed(monkeypatch, capsys)(
        "recalibrate", scored, "--ensemble", learnt, "-o", tmp_path / "shards",
        "--workers", 1, "--shard", "2/2",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert "sources have predictions, which got 'wider': ew_halpha" in said.out
    assert "a HATS catalog" in said.out
    assert str(rows_of(tmp_path / "shards").to_pylist()) == str(expected.to_pylist())


def test_a_catalog_that_has_it_or_is_of_another_ensemble_is_refused_before(
    recalibrate, scored_folder, tmp_path
):
    with pytest.raises(EnsembleError, match="scored by the ensemble 'tiny'"):
        recalibrate(catalog=scored_folder)
    once = recalibrate("once").output
    with pytest.raises(CatalogError, match="has the recalibration 'wider' of"):
        recalibrate(catalog=once)
    assert not (tmp_path / "recalibrated").exists()


def test_an_ensemble_that_has_changed_is_refused(recalibrate, learnt):
    job = Job.open(recalibrate(shard="1/2").output)
    _, found = stored_calibration(learnt)
    found.versions[0].write(learnt)
    with pytest.raises(OutputError, match="its calibration has changed since the job began"):
        work_of(job)
