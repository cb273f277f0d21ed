"""Ensembles that are trained on vectors: alone, with a catalog's magnitudes, and beside cutouts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.embeddings.brightness import Brightness
from targetsel.embeddings.file import Embeddings
from targetsel.errors import CatalogError, CutoutError, EnsembleError, OutputError
from targetsel.networks.inputs import InputsById
from targetsel.networks.vector_plan import VectorPlan
from targetsel.report.sheet import draw_sheet
from targetsel.report.source import draw_source
from targetsel.scoring.embed import embed
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.onnx import export_ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.scoring.stream import score
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.training.ensemble_training import train_into
from targetsel.training.plan import TrainingPlan, fine_tuning, named_plan
from tests.embeddings.toy_vectors import LENGTH, toy_vectors, write_vectors
from tests.training.toy_sky import N, quiet, toy_decoder, toy_labels, toy_plan, toy_store

MODEL = {"model": "Toy-1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Vectors of the toy sky, its catalog and cutouts; the second source has no vector, the third
    one with NaN."""
    folder = tmp_path_factory.mktemp("vectors")
    labels = toy_labels()
    values: list[object] = list(toy_vectors(labels.mean))
    values[1] = None
    values[2] = np.full(LENGTH, 1.0)
    values[2][4] = np.nan
    write_vectors(folder / "vectors.parquet", labels.source_id, values, **MODEL)
    catalog = pa.table(
        {
            "source_id": labels.source_id,
            "ra": np.linspace(0, 350, N),
            "dec": np.linspace(-50, 50, N),
            "gmag": 20 - labels.mean[:, 0] + 0.3 * labels.mean[:, 1],
            "rmag": 19 - labels.mean[:, 0],
        }
    )
    pq.write_table(catalog, folder / "catalog.parquet")
    toy_store(folder / "cutouts", labels)
    return folder


def plan_of(store: InputsById, **recipe: object) -> TrainingPlan:
    """A short training on the vectors of a store."""
    assert store.embeddings is not None
    vectors = VectorPlan.of(store.embeddings, toy_labels().source_id, store.brightness)
    plan = named_plan("default", None, 2, epochs=6, members=2, vectors=vectors)
    return replace(plan, recipe=plan.recipe.model_copy(update={"batch": 32, **recipe}))


@pytest.fixture(scope="module")
def store(folder) -> InputsById:
    return InputsById(embeddings=Embeddings.open(folder / "vectors.parquet"))


@pytest.fixture(scope="module")
def trained(folder, store) -> Path:
    train_into(folder / "mine", store, toy_labels(), plan_of(store), toy_decoder(), quiet)
    return folder / "mine"


def scored(folder: Path, ensemble: Path, store: object, name: str, **how: object) -> pa.Table:
    output = folder / f"{name}.parquet"
    catalog = CatalogFile.open(how.pop("catalog", folder / "catalog.parquet"))
    options = ScoreOptions(n_draws=32, slim=how.pop("slim", False))
    score(catalog, store, Ensemble.read(ensemble), output, options, **how)
    return pq.read_table(output)


def test_vectors_that_hold_the_latents_predict_them(trained):
    card = json.loads((trained / "card.json").read_bytes())
    assert "input" not in card
    assert card["embeddings"]["model"] == "Toy-1"
    assert card["embeddings"]["length"] == LENGTH
    assert card["training"]["left_out"] == {"without a usable vector": 2}
    assert card["validation"]["rmse"]["value"] < 0.7


def test_one_vector_for_all_sources_is_refused(tmp_path):
    ids = toy_labels().source_id
    path = write_vectors(tmp_path / "e.parquet", ids, np.ones((N, LENGTH)))
    with pytest.raises(EnsembleError, match=r"the same vector for all .* Write them again"):
        VectorPlan.of(Embeddings.open(path), ids)


def test_too_few_vectors_are_said_to_be_few_embeddings(tmp_path, folder, store):
    few = toy_labels().take(np.arange(9))
    with pytest.raises(EnsembleError, match="more sources that have embeddings and labels"):
        train_into(tmp_path / "few", store, few, plan_of(store), toy_decoder(), quiet)


def test_sources_without_a_usable_vector_keep_their_row_and_say_why(folder, trained, store):
    rows = scored(folder, trained, store, "plain").sort_by("source_id")
    status = rows["status"].to_pylist()
    assert status[:4] == ["ok", "no embedding", "embedding with NaN or infinity", "ok"]
    assert rows["latent_mean"].null_count == 0  # of lists of nulls
    assert np.isnan(rows["epistemic"].to_numpy()[1:3]).all()
    assert rows["cutout_mag"].null_count == N
    assert rows["support"].null_count == N
    assert rows["typicality_image"].null_count == N
    assert rows["typicality_features"].null_count == 2
    assert rows["typicality"].null_count == 2
    assert set(rows["typicality_reason"].to_pylist()) == {"features", None}


def test_order_of_rows_threads_and_batches_change_no_byte(folder, trained, store):
    rng = np.random.default_rng(1)
    file = pq.read_table(folder / "vectors.parquet")
    pq.write_table(file.take(rng.permutation(N)), folder / "mixed.parquet", row_group_size=50)
    mixed = InputsById(embeddings=Embeddings.open(folder / "mixed.parquet"))
    assert mixed.sha256 == store.sha256
    catalog = pq.read_table(folder / "catalog.parquet")
    (folder / "other").mkdir()
    pq.write_table(catalog.take(rng.permutation(N)), folder / "other" / "catalog.parquet")
    scored(folder, trained, store, "one")
    scored(folder, trained, mixed, "two", threads=3, catalog=folder / "other" / "catalog.parquet")
    assert (folder / "one.parquet").read_bytes() == (folder / "two.parquet").read_bytes()


@pytest.fixture(scope="module")
def with_magnitudes(folder, store) -> Path:
    catalog = Catalog.read(folder / "catalog.parquet")
    both = store.with_brightness(Brightness.of(catalog, folder / "catalog.parquet"))
    train_into(folder / "magnitudes", both, toy_labels(), plan_of(both), toy_decoder(), quiet)
    return folder / "magnitudes"


def test_magnitudes_beside_vectors_are_learnt_and_give_support(folder, store, with_magnitudes):
    catalog = Catalog.read(folder / "catalog.parquet")
    assert Ensemble.read(with_magnitudes).inputs.vectors.bands == ("g", "r")
    rows = scored(folder, with_magnitudes, store, "with").sort_by("source_id")
    expected = catalog.table["rmag"].to_numpy()
    np.testing.assert_allclose(rows["cutout_mag"].to_numpy()[3:], expected[3:], rtol=1e-6)
    colour = catalog.table["gmag"].to_numpy() - expected
    np.testing.assert_allclose(rows["cutout_colour"].to_numpy()[3:], colour[3:], atol=1e-5)
    assert rows["support"].to_pylist().count(True) > N / 2
    assert rows["cutout_size"].null_count == N


def test_a_source_without_a_magnitude_says_in_which_band(folder, store, with_magnitudes):
    table = pq.read_table(folder / "catalog.parquet")
    magnitudes = table["rmag"].to_numpy().copy()
    magnitudes[5] = np.nan
    pq.write_table(table.set_column(4, "rmag", pa.array(magnitudes)), folder / "faint.parquet")
    rows = scored(folder, with_magnitudes, store, "x", catalog=folder / "faint.parquet")
    assert rows.sort_by("source_id")["status"][5].as_py() == "no magnitude: r"
    pq.write_table(table.drop_columns("rmag"), folder / "no_r.parquet")
    with pytest.raises(CatalogError, match="takes magnitudes in g, r, and r is not there"):
        scored(folder, with_magnitudes, store, "y", catalog=folder / "no_r.parquet")
    pq.write_table(table.drop_columns(["rmag", "gmag"]), folder / "no_gr.parquet")
    with pytest.raises(CatalogError, match="and g, r are not there"):
        scored(folder, with_magnitudes, store, "y", catalog=folder / "no_gr.parquet")


def test_vectors_beside_cutouts_join_the_features_and_both_must_be_there(folder, store):
    from targetsel.imaging.store import CutoutStore

    both = InputsById(CutoutStore.open(folder / "cutouts"), store.embeddings)
    vectors = VectorPlan.of(store.embeddings, toy_labels().source_id)
    toy = toy_plan(both.cutouts)
    network = toy.network.model_copy(update={"vector": LENGTH, "vector_features": 8})
    plan = replace(toy, network=network, vectors=vectors)
    train_into(folder / "both", both, toy_labels(), plan, toy_decoder(), quiet)
    rows = scored(folder, folder / "both", both, "beside").sort_by("source_id")
    status = rows["status"].to_pylist()
    assert status[:3] == ["ok", "no embedding", "embedding with NaN or infinity"]
    assert status[-1] == "lost band: r"
    assert rows["cutout_mag"].null_count < 5
    with pytest.raises(EnsembleError, match="Name the file of these with --embeddings"):
        scored(folder, folder / "both", both.cutouts, "z")
    with pytest.raises(CutoutError, match="Name a store of cutouts with --cutouts"):
        scored(folder, folder / "both", store, "z")


def test_embeddings_of_another_model_length_or_column_are_refused(folder, trained):
    ids, values = toy_labels().source_id, toy_vectors(toy_labels().mean)
    ensemble = Ensemble.read(trained)
    other = write_vectors(folder / "other_model.parquet", ids, values, model="Toy-2")
    short = write_vectors(folder / "short.parquet", ids, values[:, :5], **MODEL)
    for path, words in (
        (other, "its vectors are of Toy-2; mine was trained on those of Toy-1"),
        (short, "its vectors have 5 numbers; mine was trained on 12 of Toy-1"),
    ):
        with pytest.raises(EnsembleError, match=words):
            ensemble.inputs.check(Embeddings.open(path), ensemble.name)


def test_an_ensemble_starts_from_one_of_the_same_vectors(folder, trained, store):
    start = Ensemble.read(trained)
    plan = fine_tuning("default", start, None, epochs=2)
    plan = replace(plan, recipe=plan.recipe.model_copy(update={"batch": 32}))
    train_into(folder / "tuned", store, toy_labels(), plan, start.decoder, quiet)
    tuned = Ensemble.read(folder / "tuned")
    assert tuned.inputs == start.inputs
    assert tuned.card["training"]["started_from"] == start.sha256


def test_an_ensemble_of_vectors_says_that_it_takes_no_cutouts(folder, trained):
    from targetsel.imaging.store import CutoutStore

    ensemble = Ensemble.read(trained)
    assert "embeddings of 12 numbers of Toy-1" in repr(ensemble)
    with pytest.raises(EnsembleError, match=r"and no cutouts\. Leave --cutouts out"):
        ensemble.inputs.check(CutoutStore.open(folder / "cutouts"), ensemble.name)
    with pytest.raises(EnsembleError, match="and no cutouts"):
        ensemble.input  # noqa: B018


def test_the_features_of_an_ensemble_are_a_file_of_embeddings(folder, trained, store):
    catalog = CatalogFile.open(folder / "catalog.parquet")
    ensemble = Ensemble.read(trained)
    for name, threads in (("features.parquet", 1), ("again.parquet", 3)):
        statuses = embed(catalog, store, ensemble, folder / name, threads)
    assert (folder / "features.parquet").read_bytes() == (folder / "again.parquet").read_bytes()
    assert statuses == {"ok": N - 2, "no embedding": 1, "embedding with NaN or infinity": 1}
    found = Embeddings.open(folder / "features.parquet")
    assert found.model == f"mine ({ensemble.sha256[:12]})"
    ids = np.array([1, 2, 4])
    expected = ensemble.features(store.read(ids))[:, [0, 2]].transpose(1, 0, 2).reshape(2, -1)
    vectors = found.read(ids)
    assert vectors.status.tolist() == ["ok", "no embedding", "ok"]
    np.testing.assert_allclose(vectors.values[[0, 2]], expected, rtol=1e-6)


KILLED = """
import os, signal, sys
from pathlib import Path
import targetsel.scoring.stream as stream
from targetsel.embeddings.file import Embeddings
from targetsel.networks.inputs import InputsById
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.sky.catalog import CatalogFile

folder = Path(sys.argv[1])
stream.ROWS_PER_CHUNK = 40
write, n = stream.write_table, 0

def write_two(*given, **how):
    global n
    write(*given, **how)
    n += 1
    if n == 2:
        os.kill(os.getpid(), signal.SIGKILL)

stream.write_table = write_two
store = InputsById(embeddings=Embeddings.open(folder / "vectors.parquet"))
catalog = CatalogFile.open(folder / "catalog.parquet")
stream.score(catalog, store, Ensemble.read(folder / "mine"), folder / "killed.parquet",
             ScoreOptions(n_draws=32))
"""


def test_a_killed_scoring_of_vectors_goes_on_where_it_was(folder, trained, store, monkeypatch):
    monkeypatch.setattr("targetsel.scoring.stream.ROWS_PER_CHUNK", 40)
    scored(folder, trained, store, "whole")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "killed.parquet").exists()
    catalog = CatalogFile.open(folder / "catalog.parquet")
    ensemble, options = Ensemble.read(trained), ScoreOptions(n_draws=32)
    run = score(catalog, store, ensemble, folder / "killed.parquet", options)
    assert run.n_resumed == 1  # the second part was written, but not noted
    assert (folder / "killed.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()


def test_a_scoring_that_was_killed_does_not_go_on_with_other_vectors(folder, trained):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    file = pq.read_table(folder / "vectors.parquet")
    pq.write_table(file.slice(1), folder / "fewer.parquet")
    fewer = InputsById(embeddings=Embeddings.open(folder / "fewer.parquet"))
    catalog = CatalogFile.open(folder / "catalog.parquet")
    output, options = folder / "killed.parquet", ScoreOptions(n_draws=32)
    run = score(catalog, fewer, Ensemble.read(trained), output, options)
    assert (run.n_resumed, run.changed) == (0, ("embeddings",))


def test_features_are_not_written_as_csv_which_holds_no_lists(folder, trained, store):
    catalog = CatalogFile.open(folder / "catalog.parquet")
    with pytest.raises(OutputError, match=r"x\.csv: CSV has no place for lists of numbers\. Choo"):
        embed(catalog, store, Ensemble.read(trained), folder / "x.csv")
    assert not (folder / "x.csv").exists()


def test_sources_that_were_seen_as_vectors_are_drawn_without_cutouts(folder, trained, store):
    pytest.importorskip("matplotlib")
    scored(folder, trained, store, "drawn")
    ensemble, file = Ensemble.read(trained), folder / "drawn.parquet"
    for source_id, word in ((1, "central 68 %"), (2, "no embedding")):
        draw_source(file, str(source_id), None, ensemble, folder / "one.svg")
        assert word in (folder / "one.svg").read_text()
    assert draw_sheet(file, file, None, ensemble, folder / "all.pdf") == N
    scored(folder, trained, store, "slim", slim=True)
    for draw in (
        lambda: draw_source(folder / "slim.parquet", "1", None, ensemble, folder / "x.svg"),
        lambda: draw_sheet(*[folder / "slim.parquet"] * 2, None, ensemble, folder / "x.pdf"),
    ):
        with pytest.raises(EnsembleError, match=r"not stored .* Score the catalog without --slim"):
            draw()


def test_graphs_are_refused_for_networks_that_take_vectors(tmp_path, trained):
    with pytest.raises(EnsembleError, match="take vectors of 12 numbers; graphs are of networks"):
        export_ensemble(Ensemble.read(trained), tmp_path / "graph.onnx")
