"""A scored HATS catalog compared in partitions: the rows that comparing the whole gives."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError, EnsembleError, OutputError
from targetsel.jobs.job import Job
from targetsel.partitions.catalog_job import HowToRun
from targetsel.partitions.comparing import HowToCompare, compare_partitions, work_of
from targetsel.scored.file import ScoredFile
from targetsel.tables.hats import HatsCatalog
from targetsel.tables.parquet import write_table
from tests.cli.typed import Typed
from tests.conftest import tiny_ensemble
from tests.partitions.conftest import in_this_process

N_SPECTRA = 25


@pytest.fixture
def spectra(scored_folder, tmp_path):
    """Latents of some of the sources, and of two others."""
    table = ts.read(scored_folder, "scored").table
    ids = [*table["source_id"].to_pylist()[:N_SPECTRA], 10**9, 10**9 + 1]
    size = table.schema.field("latent_mean").type.list_size
    latents = np.random.default_rng(0).normal(size=(len(ids), size)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(latents.ravel()), size)
    write_table(pa.table({"source_id": ids, "latent": lists}), tmp_path / "latents.parquet")
    return tmp_path / "latents.parquet"


@pytest.fixture
def compare(scored_folder, ensemble_folder, spectra, tmp_path):
    """Compare the scored folder, or another catalog, in this process."""

    def compare(catalog=None, output="compared", shard=None, **how):
        told = HowToCompare(**{"spectra": spectra, "ensemble": ensemble_folder, **how})
        run = HowToRun(in_this_process, shard)
        whole = HatsCatalog.open(catalog or scored_folder)
        return compare_partitions(whole, told, tmp_path / output, run)

    return compare


def rows_of(root):
    catalog = HatsCatalog.open(root)
    return pa.concat_tables([pq.read_table(catalog.path_of(each)) for each in catalog.pixels])


def test_partitions_hold_the_rows_of_the_whole_catalog_compared(
    compare, scored_folder, ensemble_folder, spectra
):
    found = compare()
    assert found.is_finished
    in_one_piece = ts.read(scored_folder, "scored")[:]
    whole = ts.compare(in_one_piece, spectra, ensemble=ensemble_folder)
    rows = rows_of(found.output)
    assert rows.equals(whole.table.replace_schema_metadata(rows.schema.metadata))
    assert rows["surprise"].null_count == len(rows) - N_SPECTRA
    assert found.outcome.n == whole.run.n == N_SPECTRA
    assert found.outcome.left_out == whole.run.left_out
    assert found.outcome.left_out["only in the truth"] == 2
    with ScoredFile(found.output) as file:
        assert file.footer == whole.footer


def test_shards_and_commands_write_the_same_rows(
    compare, scored_folder, ensemble_folder, spectra, tmp_path, monkeypatch, capsys
):
    expected = rows_of(compare().output)
    assert not compare(output="shards", shard="1/2").is_finished
    said = Typed(monkeypatch, capsys)(
        "compare", scored_folder, "--spectra", spectra, "--ensemble", ensemble_folder,
        "-o", tmp_path / "shards", "--workers", 1, "--shard", "2/2",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert f"{N_SPECTRA} sources with a prediction and a known spectrum" in said.out
    assert "left out: 2 only in the truth" in said.out
    assert "a HATS catalog" in said.out
    assert rows_of(tmp_path / "shards").equals(expected)


def test_spectra_of_other_sources_are_refused_at_the_end(compare, spectra, tmp_path):
    others = pq.read_table(spectra).slice(N_SPECTRA)
    write_table(others, tmp_path / "others.parquet")
    with pytest.raises(CatalogError, match="none of its 2 ids"):
        compare(spectra=tmp_path / "others.parquet")


def test_another_ensemble_or_a_compared_catalog_is_refused_before(compare, tmp_path):
    tiny_ensemble(3).write(tmp_path / "other")
    with pytest.raises(EnsembleError, match="scored by the ensemble"):
        compare(ensemble=tmp_path / "other")
    with pytest.raises(CatalogError, match="has a column 'surprise' already"):
        compare(catalog=compare(output="once").output)
    assert not (tmp_path / "compared").exists()


def test_spectra_that_have_changed_are_refused(compare, spectra):
    job = Job.open(compare(shard="1/2").output)
    write_table(pq.read_table(spectra).slice(1), spectra)
    with pytest.raises(OutputError, match="its spectra has changed since the job began"):
        work_of(job)
    with pytest.raises(OutputError, match="was begun with spectra"):
        compare()
