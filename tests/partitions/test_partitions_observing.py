"""A scored HATS catalog observed in partitions: the rows that observing the whole gives."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import OutputError, SpectrographError
from targetsel.jobs.job import Job
from targetsel.partitions.catalog_job import HowToRun
from targetsel.partitions.observing import HowToObserve, observe_partitions, work_of
from targetsel.scored.file import ScoredFile
from targetsel.tables.hats import HatsCatalog
from tests.cli.typed import Typed
from tests.partitions.conftest import in_this_process

WORDS = {"size": "2arcsec", "lines": ("halpha",), "exposure": "15min"}


@pytest.fixture
def observe(scored_folder, tmp_path):
    """Observe the scored folder, or another catalog, in this process."""

    def observe(catalog=None, output="observed", **words):
        whose = {name: words.pop(name) for name in ("shard",) if name in words}
        how = HowToObserve(**{**WORDS, **words})
        run = HowToRun(in_this_process, **whose)
        return observe_partitions(
            HatsCatalog.open(catalog or scored_folder), how, tmp_path / output, run
        )

    return observe


def files_of(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted((root / "dataset").rglob("*.parquet"))
    }


def test_partitions_hold_the_rows_of_the_whole_catalog_observed(observe, scored_folder):
    found = observe()
    assert found.is_finished
    whole = ts.observe(ts.read(scored_folder, "scored")[:], **WORDS)
    catalog = HatsCatalog.open(found.output)
    rows = pa.concat_tables([pq.read_table(catalog.path_of(each)) for each in catalog.pixels])
    assert rows.equals(whole.table.replace_schema_metadata(rows.schema.metadata))
    assert catalog.pixels == HatsCatalog.open(scored_folder).pixels
    assert found.statuses == dict(whole.run.statuses)
    with ScoredFile(found.output) as file:
        assert file.footer == whole.footer
        assert file.schema.field("exposure_time_halpha").metadata[b"unit"] == b"s"


def test_cautions_and_remarks_of_partitions_are_those_of_the_whole_catalog(
    observe, scored_folder, monkeypatch
):
    monkeypatch.setattr("targetsel.observing.observation.aperture_in", lambda _: 3.0)
    words = {"spectrograph": "desi", "site": "kpno", "night": ("2027-01-10",)}
    found = observe(**words)
    whole = ts.observe(ts.read(scored_folder, "scored")[:], **{**WORDS, **words}).run
    assert found.remarks == sorted(whole.nights)
    assert whole.nights
    assert found.cautions == [whole.caution]
    assert whole.caution.startswith("line strengths are of the light in a fiber of 3 arcsec")


def test_shards_and_commands_write_the_same_bytes(
    observe, scored_folder, tmp_path, monkeypatch, capsys
):
    expected = files_of(observe().output)
    assert not observe(output="shards", shard="1/2").is_finished
    said = Typed(monkeypatch, capsys)(
        "observe", scored_folder, "--size", "2arcsec", "--line", "halpha", "--exposure", "15min",
        "-o", tmp_path / "shards", "--workers", 1, "--shard", "2/2",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert f"written to {tmp_path / 'shards'}, a HATS catalog" in said.out
    assert files_of(tmp_path / "shards") == expected
    progress = ts.status(tmp_path / "shards")
    assert progress.counts["done"] == len(expected)
    assert progress.n_rows == len(ts.read(scored_folder, "scored"))


def test_a_job_of_other_words_is_refused(observe):
    observe(shard="1/2")
    with pytest.raises(OutputError, match="was begun with observed"):
        observe(exposure="30min")
    with pytest.raises(OutputError, match="was begun with lines"):
        observe(lines=("hbeta",))


def test_what_does_not_fit_is_refused_before_the_first_partition(observe, hats, tmp_path):
    with pytest.raises(SpectrographError, match="no_such"):
        observe(redshift="no_such")
    with pytest.raises(SpectrographError, match="no posterior of 'ew_halpha'"):
        observe(catalog=hats)
    assert not (tmp_path / "observed").exists()
    twice = observe().output
    with pytest.raises(SpectrographError, match="already has a column 'wavelength_halpha'"):
        observe(catalog=twice, output="twice")


def test_a_spectrograph_that_has_changed_is_refused(observe, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(Path(str(files("targetsel.spectrographs") / "data" / "desi.yaml")).read_text())
    job = Job.open(observe(spectrograph=str(mine), shard="1/2").output)
    mine.write_text(f"{mine.read_text()}# another\n")
    with pytest.raises(OutputError, match="its spectrograph or columns have changed since"):
        work_of(job)(job.parts[1])


def test_options_of_partitions_are_refused_for_one_file(scored_folder, tmp_path):
    with pytest.raises(OutputError, match=r"--shard: is for HATS catalogs .* into a folder"):
        ts.observe(scored_folder, **WORDS, output=tmp_path / "one.parquet", shard="1/2")
