"""The demonstration as a HATS catalog of several partitions, and its score."""

from __future__ import annotations

import pytest

from targetsel.jobs.perform import perform
from targetsel.partitions.catalog_job import HowToRun
from targetsel.partitions.scoring import HowToScore, score_partitions
from targetsel.scoring.rows import ScoreOptions
from targetsel.sky.catalog import CatalogFile
from targetsel.sky.partitions import partition_catalog
from targetsel.tables.hats import HatsCatalog

RULES = """
schema: targetsel/rules/v1
name: brightest half
seed: 1
classes:
  BRIGHT:
    bit: 0
    priority: 1
    where:
      - rmag < catalog_quantile(rmag, 0.5)
      - ew_halpha > 3
"""


def in_this_process(job, parts, maker, seconds):
    """A launcher without processes, for tests."""
    return (perform(str(job.output), part, maker, seconds) for part in parts)


@pytest.fixture(scope="package")
def hats(demonstration, tmp_path_factory):
    """The demonstration in partitions; read only."""
    root = tmp_path_factory.mktemp("partitions") / "hats"
    catalog = partition_catalog(CatalogFile.open(demonstration / "catalog.parquet"), root, 12)
    assert len(catalog.pixels) > 3
    return root


@pytest.fixture(scope="package")
def scored_folder(hats, demonstration, ensemble_folder, tmp_path_factory):
    """The score of these partitions; read only."""
    how = HowToScore(demonstration / "cutouts", ensemble_folder, ScoreOptions(n_draws=16))
    output = tmp_path_factory.mktemp("partitions") / "scored"
    return score_partitions(HatsCatalog.open(hats), how, output, HowToRun(in_this_process)).output


@pytest.fixture
def run(hats, demonstration, ensemble_folder, tmp_path):
    """Score the partitions, by default in this process, into a temporary folder."""

    def run(catalog=None, output="scored", launcher=in_this_process, **options):
        whose = {name: options.pop(name) for name in ("shard", "without_failed") if name in options}
        how = HowToScore(
            options.pop("cutouts", demonstration / "cutouts"),
            options.pop("ensemble", ensemble_folder),
            ScoreOptions(seed=options.pop("seed", 0), n_draws=16, slim=options.pop("slim", False)),
            **options,
        )
        whole = HatsCatalog.open(catalog or hats)
        return score_partitions(whole, how, tmp_path / output, HowToRun(launcher, **whose))

    return run
