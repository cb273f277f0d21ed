"""Scoring as a stream: the same bytes in any order, whole or not at all, and resumable."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import targetsel.scoring.stream
from targetsel.errors import CatalogError, CutoutError, OutputError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import CutoutStore
from targetsel.rules.rules import Rules
from targetsel.scored.slim import is_slim
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.scoring.stream import score
from targetsel.selection.select import select
from targetsel.sky.catalog import CatalogFile
from targetsel.tables.parquet import read_footer, write_table
from tests.cli.typed import contents
from tests.spectra.test_spectra_distilled import untaught


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(targetsel.scoring.stream, "ROWS_PER_CHUNK", 8)


@pytest.fixture
def run(demonstration, ensemble_folder, tmp_path):
    """Score the demonstration's catalog, or another, into a temporary folder."""

    def run(catalog=None, store=None, output="out.scored.parquet", **options):
        threads = options.pop("threads", 1)
        return score(
            CatalogFile.open(catalog or demonstration / "catalog.parquet"),
            CutoutStore.open(store or demonstration / "cutouts"),
            Ensemble.read(ensemble_folder),
            tmp_path / output,
            ScoreOptions(n_draws=16, **options),
            threads,
        )

    return run


def test_every_source_of_the_catalog_is_scored_in_sky_order(run, demonstration):
    scored = run()
    table = pq.read_table(scored.output)
    catalog = pq.read_table(demonstration / "catalog.parquet")
    assert scored.statuses == {"ok": catalog.num_rows}
    assert sorted(table["source_id"].to_pylist()) == sorted(catalog["source_id"].to_pylist())
    assert (np.diff(table["_healpix_29"].to_numpy()) >= 0).all()


def test_shuffled_rows_and_more_threads_give_the_same_bytes(
    run, demonstration, tmp_path, small_chunks
):
    catalog = pq.read_table(demonstration / "catalog.parquet")
    order = np.random.default_rng(0).permutation(catalog.num_rows)
    pq.write_table(catalog.take(order), tmp_path / "shuffled.parquet", row_group_size=7)
    first = run().output.read_bytes()
    shuffled = run(tmp_path / "shuffled.parquet", output="b.scored.parquet")
    assert shuffled.output.read_bytes() == first
    assert run(threads=2, output="c.scored.parquet").output.read_bytes() == first


def test_chunks_of_any_size_give_the_same_bytes(run, monkeypatch):
    tables = []
    for rows in (7, 256):
        monkeypatch.setattr(targetsel.scoring.stream, "ROWS_PER_CHUNK", rows)
        tables.append(pq.read_table(run(output=f"{rows}.parquet").output))
    assert tables[0].equals(tables[1])


def test_median_and_interval_are_knots_of_the_stored_quantiles(run):
    table = pq.read_table(run().output)
    quantiles = np.stack(table["d4000_quantiles"].to_pylist()).astype(np.float32)
    assert np.array_equal(quantiles[:, 5], table["d4000"].to_numpy())
    assert np.array_equal(quantiles[:, 3], table["d4000_q16"].to_numpy())
    assert np.array_equal(quantiles[:, 7], table["d4000_q84"].to_numpy())


def test_class_probabilities_add_to_one(run):
    table = pq.read_table(run().output)
    parts = [table[f"bpt_{name}"].to_numpy() for name in ("sf", "composite", "agn", "weak")]
    assert np.sum(parts, axis=0) == pytest.approx(1.0, abs=1e-6)


def test_mixture_covariance_is_the_mean_covariance_plus_the_scatter_of_means(run):
    table = pq.read_table(run().output)
    mean = np.stack(table["member_mean"].to_pylist()).reshape(-1, 2, 6)
    cov = np.stack(table["member_cov"].to_pylist()).reshape(-1, 2, 21)
    total = np.stack(table["latent_cov"].to_pylist())
    scatter = np.einsum("nmi,nmj->nij", mean, mean) / 2 - np.einsum(
        "ni,nj->nij", mean.mean(1), mean.mean(1)
    )
    lower = np.tril_indices(6)
    assert total == pytest.approx(cov.mean(1) + scatter[:, lower[0], lower[1]], abs=1e-4)


def test_provenance_names_ensemble_options_and_columns_but_no_path(run, ensemble_folder, tmp_path):
    footer = read_footer(run(seed=5).output)
    assert footer["ensemble"] == {"name": "tiny", "sha256": Ensemble.read(ensemble_folder).sha256}
    assert footer["options"]["seed"] == 5
    assert footer["columns"] == {"source_id": "source_id", "ra": "ra", "dec": "dec"}
    assert str(tmp_path) not in str(footer)


def broken_store(demonstration, path):
    """The demonstration's cutouts with one trouble each; the last source is left out."""
    store = CutoutStore.open(demonstration / "cutouts")
    ids = np.sort(store.source_ids())
    cutouts = store.read(ids)
    flux = cutouts.flux.copy()
    flux[0, 2] = np.nan
    flux[1, [0, 4]] = np.nan
    flux[2, :, :40] = np.nan
    flux[3] = 0.0
    flux[4, :, 0, 0] = np.nan
    catalog = pq.read_table(demonstration / "catalog.parquet").sort_by("source_id")
    ra, dec = catalog["ra"].to_numpy(), catalog["dec"].to_numpy()
    broken = Cutouts(ids, flux, cutouts.bands, cutouts.pixel_scale).take(slice(0, -1))
    write_store(path, [(broken, ra[:-1], dec[:-1])], store.sky_sigma)
    return ids


def test_bad_cutouts_keep_their_row_and_say_why(run, demonstration, tmp_path):
    ids = broken_store(demonstration, tmp_path / "broken")
    scored = run(store=tmp_path / "broken")
    table = pq.read_table(scored.output).sort_by("source_id")
    assert table["source_id"].to_pylist() == ids.tolist()
    status = table["status"].to_pylist()
    assert status[:5] == [
        "lost band: i", "lost bands: g, y", "mostly NaN pixels", "all-zero image", "ok",
    ]  # fmt: skip
    assert status[-1] == "no cutout"
    assert table["ew_halpha"].is_null().to_pylist()[:5] == [True, True, True, True, False]
    assert table["masked_fraction"].to_pylist()[4] == pytest.approx(1 / 4096)
    assert scored.statuses["ok"] == len(ids) - 5


def test_a_failed_run_goes_on_where_it_stopped_and_gives_the_same_bytes(
    run, small_chunks, monkeypatch, tmp_path
):
    whole = run(output="whole.parquet").output.read_bytes()
    original, calls = targetsel.scoring.stream.score_inputs, []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("power cut")
        return original(*arguments)

    monkeypatch.setattr(targetsel.scoring.stream, "score_inputs", failing)
    with pytest.raises(RuntimeError):
        run(output="cut.parquet")
    assert not (tmp_path / "cut.parquet").exists()
    n_done = len(calls) - 1
    assert n_done >= 3
    resumed = run(output="cut.parquet")
    assert resumed.n_resumed == n_done
    assert len(calls) == n_done + 1 + (5 - n_done)
    assert resumed.output.read_bytes() == whole
    assert not (tmp_path / "cut.parquet.partial").exists()


def test_cutouts_are_read_while_those_before_them_are_computed(run, small_chunks, monkeypatch):
    original, read_twice, reads = CutoutStore.read, threading.Event(), []
    compute, in_time = targetsel.scoring.stream.score_inputs, []

    def read(store, ids):
        reads.append(threading.current_thread().name)
        if len(reads) == 2:
            read_twice.set()
        return original(store, ids)

    def first_waits(*arguments):
        in_time.append(read_twice.wait(10))
        return compute(*arguments)

    monkeypatch.setattr(CutoutStore, "read", read)
    monkeypatch.setattr(targetsel.scoring.stream, "score_inputs", first_waits)
    run()
    assert in_time[0]
    assert set(reads) == {"reader_0"}


@pytest.mark.parametrize("threads", [1, 2])
def test_cutouts_that_cannot_be_read_stop_the_run_with_their_error_and_no_thread_stays(
    run, small_chunks, monkeypatch, tmp_path, threads
):
    whole = run(output="whole.parquet").output.read_bytes()
    original, reads = CutoutStore.read, []
    partial = tmp_path / "out.scored.parquet.partial"

    def third_fails(store, ids):
        reads.append(len(ids))
        if len(reads) == 3:
            until = time.monotonic() + 20
            while not list(partial.glob("part-*.parquet")) and time.monotonic() < until:
                time.sleep(0.01)
            raise CutoutError("cutouts/part-00000.parquet: damaged or cut short")
        return original(store, ids)

    with monkeypatch.context() as patch:
        patch.setattr(CutoutStore, "read", third_fails)
        with pytest.raises(CutoutError, match=r"part-00000.parquet: damaged or cut short"):
            run(threads=threads)
    assert len(reads) <= 4  # one that was read before the error was seen
    assert not [each for each in threading.enumerate() if each.name.startswith(("reader", "work"))]
    assert partial.exists()
    resumed = run(threads=threads)
    assert 1 <= resumed.n_resumed <= 2
    assert resumed.output.read_bytes() == whole


def cut_off(run, monkeypatch, **options):
    """A run that ends before its parts are joined."""
    with monkeypatch.context() as patch:
        patch.setattr(targetsel.scoring.stream, "_join", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(**options)


@pytest.mark.parametrize(("name", "kept"), [("part-00002", 4), ("chunk-00001", 0)])
def test_file_cut_short_by_a_crash_of_the_machine_is_made_again(
    run, small_chunks, monkeypatch, tmp_path, name, kept
):
    whole = run(output="whole.parquet").output.read_bytes()
    cut_off(run, monkeypatch)
    broken = tmp_path / "out.scored.parquet.partial" / f"{name}.parquet"
    broken.write_bytes(broken.read_bytes()[:100])
    resumed = run()
    assert resumed.n_resumed == kept
    assert resumed.output.read_bytes() == whole


def test_distilled_indices_are_named_in_the_footer_and_change_what_is_resumed(
    demonstration, ensemble_folder, tmp_path, small_chunks, monkeypatch
):
    def scored(folder, output="out.scored.parquet"):
        catalog = CatalogFile.open(demonstration / "catalog.parquet")
        store = CutoutStore.open(demonstration / "cutouts")
        ensemble = Ensemble.read(folder)
        return score(catalog, store, ensemble, tmp_path / output, ScoreOptions(n_draws=16))

    assert read_footer(scored(ensemble_folder, "exact.scored.parquet").output)["indices"] is None
    folder = shutil.copytree(ensemble_folder, tmp_path / "tiny")
    untaught(Ensemble.read(folder).decoder_sha256).write(folder)
    with monkeypatch.context() as patch:
        patch.setattr(targetsel.scoring.stream, "_join", None)  # all chunks are there, and no file
        with pytest.raises(TypeError):
            scored(ensemble_folder)
    found = scored(folder)
    assert found.changed == ("indices",)
    assert read_footer(found.output)["indices"] == {
        "sha256": Ensemble.read(folder).distilled.sha256,
        "largest_median_error": 0.02,
    }


def test_catalog_that_has_changed_is_scored_from_the_start(
    run, small_chunks, monkeypatch, demonstration, tmp_path
):
    catalog = pq.read_table(demonstration / "catalog.parquet")
    pq.write_table(catalog, tmp_path / "sky.parquet")
    cut_off(run, monkeypatch, catalog=tmp_path / "sky.parquet")
    pq.write_table(catalog.slice(1), tmp_path / "sky.parquet")
    again = run(tmp_path / "sky.parquet")
    assert again.n_resumed == 0
    assert again.changed == ("catalog",)
    assert pq.read_metadata(again.output).num_rows == catalog.num_rows - 1


def test_catalog_that_was_only_touched_is_resumed(
    run, small_chunks, monkeypatch, demonstration, tmp_path
):
    shutil.copy(demonstration / "catalog.parquet", tmp_path / "sky.parquet")
    cut_off(run, monkeypatch, catalog=tmp_path / "sky.parquet")
    os.utime(tmp_path / "sky.parquet", (1, 1))
    again = run(tmp_path / "sky.parquet")
    assert (again.n_resumed, again.changed) == (5, ())


def test_part_that_another_program_wrote_over_is_made_again(
    run, small_chunks, monkeypatch, tmp_path
):
    whole = run(output="whole.parquet").output.read_bytes()
    cut_off(run, monkeypatch)
    partial = tmp_path / "out.scored.parquet.partial"
    table = pq.read_table(partial / "part-00002.parquet")
    write_table(table.slice(1), partial / "part-00002.parquet")
    resumed = run()
    assert resumed.n_resumed == 4
    assert resumed.output.read_bytes() == whole


def test_folder_of_someone_else_is_refused_and_kept(run, tmp_path):
    other = tmp_path / "out.scored.parquet.partial"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="holds files that targetsel did not write"):
        run()
    assert (other / "thesis.tex").read_text() == "mine"


def test_wrong_catalog_does_not_cost_the_work_of_an_earlier_run(
    run, small_chunks, monkeypatch, demonstration, tmp_path
):
    cut_off(run, monkeypatch)
    catalog = pq.read_table(demonstration / "catalog.parquet")
    pq.write_table(pa.concat_tables([catalog, catalog]), tmp_path / "twice.parquet")
    with pytest.raises(CatalogError, match="ids are repeated"):
        run(tmp_path / "twice.parquet")
    assert run().n_resumed == 5


def test_disk_that_fills_up_keeps_the_scored_rows_and_says_where(
    run, small_chunks, monkeypatch, tmp_path
):
    inner = targetsel.scoring.stream.write_table

    def full(table, path):
        if path.name == ".part-00003.parquet":
            raise OutputError(f"{path}: could not be written: No space left on device.")
        inner(table, path)

    with monkeypatch.context() as patch:
        patch.setattr(targetsel.scoring.stream, "write_table", full)
        with pytest.raises(
            OutputError, match=r"kept in .*out\.scored\.parquet\.partial: run the same"
        ):
            run()
    assert not (tmp_path / "out.scored.parquet").exists()
    assert run().n_resumed >= 3


def test_work_left_by_a_run_with_other_options_is_not_used(run, small_chunks, monkeypatch):
    cut_off(run, monkeypatch, seed=1)
    again = run(seed=2)
    assert (again.n_resumed, again.changed) == (0, ("options",))


def test_a_killed_process_leaves_no_file_and_the_next_one_finishes(
    demonstration, ensemble_folder, tmp_path
):
    script = tmp_path / "go.py"
    script.write_text(
        "import sys, time, targetsel.scoring.stream as p\n"
        "from targetsel.cli import main\n"
        "p.ROWS_PER_CHUNK = 4\n"
        "inner = p.write_table\n"
        "def slow(table, path, footer=None):\n"
        "    inner(table, path, footer); time.sleep(0.2)\n"
        "if 'slow' in sys.argv: sys.argv.remove('slow'); p.write_table = slow\n"
        "main()\n"
    )
    output = tmp_path / "out.scored.parquet"
    command = [
        sys.executable, str(script), "score", str(demonstration / "catalog.parquet"),
        "--ensemble", str(ensemble_folder), "--threads", "1", "-o", str(output),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    partial = tmp_path / "out.scored.parquet.partial"
    first = subprocess.Popen([*command, "slow"], env=environment)
    for _ in range(1200):
        if len(list(partial.glob("part-*.parquet"))) >= 2 or first.poll() is not None:
            break
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    n_done = len(list(partial.glob("part-*.parquet")))
    assert 2 <= n_done < 10
    assert not output.exists()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert "resumed an earlier run" in second.stdout
    assert pq.read_metadata(output).num_rows == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["go.py", output.name]


def test_a_run_killed_while_it_clears_its_folder_leaves_nothing_to_the_next(
    run, monkeypatch, tmp_path
):
    remove = shutil.rmtree

    def stop(path, **options):
        if ".partial" in path.name:
            raise KeyboardInterrupt
        remove(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    whole = (tmp_path / "out.scored.parquet").read_bytes()
    assert not (tmp_path / "out.scored.parquet.partial").exists()
    run()
    assert contents(tmp_path) == {"out.scored.parquet": whole}


def test_a_store_that_does_not_suit_the_ensemble_is_refused_with_both_sides(
    run, demonstration, tmp_path
):
    store = CutoutStore.open(demonstration / "cutouts")
    ids = store.source_ids(4)
    cutouts = store.read(ids)
    zeros = np.zeros(4)

    def stored(name, changed, sigma):
        write_store(tmp_path / name, [(changed, zeros, zeros)], sigma)
        return tmp_path / name

    sigma = list(store.sky_sigma)
    small = stored("small", cutouts.crop(48), sigma)
    with pytest.raises(CutoutError, match=r"48.*64|64.*48"):
        run(store=small)
    four = stored("four", cutouts.select_bands(("g", "r", "i", "z")), sigma[:4])
    with pytest.raises(CutoutError, match="y"):
        run(store=four)
    coarse = Cutouts(cutouts.source_id, cutouts.flux, cutouts.bands, 0.4)
    with pytest.raises(CutoutError, match=r"0\.4.*0\.25|0\.25.*0\.4"):
        run(store=stored("coarse", coarse, sigma))
    assert not list(tmp_path.glob("*.scored.parquet*"))


def test_a_store_that_shares_no_source_is_refused(run, demonstration, tmp_path):
    catalog = pq.read_table(demonstration / "catalog.parquet")
    other = pa.array([f"SDSS{each}" for each in catalog["source_id"].to_pylist()])
    pq.write_table(catalog.set_column(0, "source_id", other), tmp_path / "named.parquet")
    with pytest.raises(CutoutError, match=r"none of its 40 ids is among the 40 of .*--id-col"):
        run(tmp_path / "named.parquet")
    assert not list(tmp_path.glob("*.partial"))


def test_ids_as_text_find_the_cutouts_of_whole_numbers(run, demonstration, tmp_path):
    catalog = pq.read_table(demonstration / "catalog.parquet")
    text = pa.array([str(each) for each in catalog["source_id"].to_pylist()])
    pq.write_table(catalog.set_column(0, "source_id", text), tmp_path / "text.parquet")
    scored = run(tmp_path / "text.parquet")
    assert (scored.n_cutouts, scored.statuses) == (40, {"ok": 40})


def test_a_catalog_whose_declinations_lost_their_sign_is_refused(run, demonstration, tmp_path):
    catalog = pq.read_table(demonstration / "catalog.parquet")
    place = catalog.column_names.index("dec")
    turned = catalog.set_column(place, catalog.schema.field("dec"), pc.negate(catalog["dec"]))
    pq.write_table(turned, tmp_path / "turned.parquet")
    with pytest.raises(
        CutoutError, match=r"39 of 40 sources are over 60 arcsec .* Check the signs"
    ):
        run(tmp_path / "turned.parquet")


def test_a_catalog_that_is_scored_already_is_refused(run):
    first = run(output="once.scored.parquet")
    with pytest.raises(CatalogError, match="which score would write"):
        run(first.output, output="twice.scored.parquet")


def test_a_folder_that_does_not_exist_is_told(run):
    with pytest.raises(OutputError, match="missing does not exist"):
        run(output="missing/out.parquet")


def test_a_full_disk_leaves_nothing_under_the_final_name(run, monkeypatch, tmp_path):
    real_write = pq.ParquetWriter.write_table
    written = []

    def full(self, *arguments, **options):
        written.append(1)
        if len(written) > 1:
            raise OSError(28, "No space left on device")
        return real_write(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OutputError, match="No space left on device"):
        run()
    assert not (tmp_path / "out.scored.parquet").exists()


def test_units_and_ucds_are_in_the_arrow_fields_and_in_astropy(run):
    from astropy.table import Table

    output = run().output
    field = pq.read_schema(output).field("ew_halpha")
    assert field.metadata[b"unit"] == b"Angstrom"
    table = Table.read(output, format="parquet.votable")
    assert table["ew_halpha"].unit == "Angstrom"
    assert table["ra"].unit == "deg"
    assert table["latent_mean"].shape == (40, 6)
    assert set(table["status"]) == {"ok"}


def test_the_scored_file_opens_in_pandas_polars_and_duckdb(run):
    import duckdb
    import pandas as pd
    import polars as pl

    output = run().output
    expected = pc.mean(pq.read_table(output)["d4000"]).as_py()
    assert pd.read_parquet(output)["d4000"].mean() == pytest.approx(expected, rel=1e-5)
    assert pl.read_parquet(output)["d4000"].mean() == pytest.approx(expected, rel=1e-5)
    query = f"select avg(d4000) from '{output}'"
    assert duckdb.connect().execute(query).fetchall()[0][0] == pytest.approx(expected, rel=1e-5)


def test_string_ids_and_other_column_names_pass_through(run, demonstration, tmp_path):
    catalog = pq.read_table(demonstration / "catalog.parquet")
    names = pa.array([f"J{number}" for number in catalog["source_id"].to_pylist()])
    renamed = catalog.rename_columns(
        ["number" if n == "source_id" else {"ra": "RAJ2000", "dec": "DEJ2000"}.get(n, n)
         for n in catalog.column_names]
    ).add_column(0, "objid", names)  # fmt: skip
    pq.write_table(renamed, tmp_path / "renamed.parquet")
    store = CutoutStore.open(demonstration / "cutouts")
    numbers = catalog["source_id"].to_numpy()
    cutouts = store.read(numbers)
    named = Cutouts(np.array(names.to_pylist(), dtype=object), cutouts.flux, cutouts.bands, 0.25)
    position = catalog["ra"].to_numpy(), catalog["dec"].to_numpy()
    write_store(tmp_path / "named", [(named, *position)], store.sky_sigma)
    scored = run(tmp_path / "renamed.parquet", tmp_path / "named")
    table = pq.read_table(scored.output)
    assert set(table["objid"].to_pylist()) == set(names.to_pylist())
    assert read_footer(scored.output)["columns"] == {
        "source_id": "objid", "ra": "RAJ2000", "dec": "DEJ2000",
    }  # fmt: skip
    plain = pq.read_table(run(output="plain.parquet").output)
    assert table["RAJ2000"].to_pylist() == plain["ra"].to_pylist()
    assert table["member_mean"].to_pylist() == plain["member_mean"].to_pylist()


def test_an_ensemble_of_simulated_images_before_other_images_is_told_and_noted(
    demonstration, ensemble_folder, tmp_path
):
    catalog = pq.read_table(demonstration / "catalog.parquet").replace_schema_metadata(None)
    pq.write_table(catalog, tmp_path / "real.parquet")
    store = CutoutStore.open(demonstration / "cutouts")
    ensemble = Ensemble.read(ensemble_folder)
    ensemble.card["simulated"] = True
    for simulated in (True, False):
        store.simulated = simulated
        scored = score(
            CatalogFile.open(tmp_path / "real.parquet"),
            store,
            ensemble,
            tmp_path / "out.scored.parquet",
            ScoreOptions(n_draws=16),
        )
        footer = read_footer(scored.output)
        assert footer.get("images") == ("simulated" if simulated else None)
        assert bool(scored.caution) is ("caution" in footer) is not simulated
    assert "learnt from simulated images" in footer["caution"]
    rules = Rules.read("emission")
    chosen = select(scored.output, rules, tmp_path / "a.targets.parquet")
    assert chosen.caution == read_footer(chosen.output)["caution"] == scored.caution


def test_a_slim_file_says_so_and_takes_less_than_half_of_the_bytes(run):
    def bytes_of_rows(path):
        rows = pq.read_metadata(path).row_group(0)
        return sum(rows.column(k).total_compressed_size for k in range(rows.num_columns))

    full, slim = run().output, run(output="slim.scored.parquet", slim=True).output
    assert "member_mean" not in pq.read_schema(slim).names
    assert (is_slim(read_footer(full)), is_slim(read_footer(slim))) == (False, True)
    assert bytes_of_rows(slim) < bytes_of_rows(full) / 2


def test_a_slim_run_does_not_resume_a_full_one(run, small_chunks, monkeypatch):
    monkeypatch.setattr(targetsel.scoring.stream, "_join", _Interrupted.now)
    with pytest.raises(_Interrupted):
        run()
    monkeypatch.undo()
    again = run(slim=True)
    assert (again.n_resumed, again.changed) == (0, ("options",))
    anew = run(output="b.scored.parquet", slim=True)
    assert again.output.read_bytes() == anew.output.read_bytes()


class _Interrupted(Exception):
    @classmethod
    def now(cls, *_):
        raise cls
