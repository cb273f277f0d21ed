"""Labels, spectra and catalogs of a training, as people's programs write them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, CutoutError, EnsembleError, OutputError, SpectrumError
from targetsel.networks.input_plan import InputPlan
from targetsel.sky.catalog import Catalog
from targetsel.spectra.rest_frame import Basis
from targetsel.tables.parquet import write_table
from targetsel.training.decoder_training import DecoderRecipe, train_decoder_into
from targetsel.training.ensemble_training import train_into
from targetsel.training.examples import PreparedCutouts
from targetsel.training.labels import Labels
from targetsel.training.training_spectra import TrainingSpectra
from tests.real_files.conftest import one_line
from tests.training.toy_sky import N, quiet, toy_decoder, toy_labels, toy_plan, toy_store

DECODER = toy_decoder()


def lists(values):
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(values)), np.shape(values)[1])


def latents(folder, footer=None, **columns):
    path = folder / "latents.parquet"
    write_table(pa.table({"latent_mean": lists([[0.5, 1.5], [2.5, 3.5]])} | columns), path, footer)
    return path


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize(
    ("ids", "meant"),
    [
        (pa.array([b"a7  ", b"b8\0\0"]), ["a7", "b8"]),
        (pa.array(["b'a7'", "b'b8'"]), ["a7", "b8"]),
        (pa.array([" a7", "b8 "], pa.large_string()), ["a7", "b8"]),
        (pa.array(["a7", "b8"]).dictionary_encode(), ["a7", "b8"]),
        (pa.array([1237660000000.0, 1237660000001.0]), [1237660000000, 1237660000001]),
        (pa.array([7, 8], pa.uint16()), [7, 8]),
    ],
    ids=["padded bytes", "bytes in text", "padded text", "dictionary", "floats", "small"],
)
def test_ids_of_latents_and_spectra_are_what_they_were_meant_to_be(ids, meant, tmp_path):
    assert Labels.of_latents(latents(tmp_path, source_id=ids), DECODER).source_id.tolist() == meant
    path = tmp_path / "spectra.parquet"
    flux = np.repeat(Basis.shipped().mean[None], 2, axis=0)
    pq.write_table(pa.table({"source_id": ids, "flux": lists(flux)}), path)
    assert Labels.of_spectra(path, DECODER).source_id.tolist() == meant


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (pa.array([1, None]), "column 'source_id': no id in 1 row"),
        (pa.array([1.0, np.nan]), "column 'source_id': no id in 1 row"),
        (pa.array([1.5, 2.0]), "column 'source_id': ids are floats (double), and 1.5 is no whole"),
        (pa.array([2.0**60, 2.0]), "where floats lose digits of ids"),
        (pa.array([5, 5]), "labels: source '5' has 2 rows, expected one"),
        (pa.array([[1], [2]]), "column 'source_id': holds lists of whole numbers"),
    ],
)
def test_ids_that_are_lost_or_repeated_are_refused(ids, message, tmp_path):
    with one_line(SpectrumError, message):
        Labels.of_latents(latents(tmp_path, source_id=ids), DECODER)


def test_groups_as_bytes_or_floats_are_those_that_were_meant(tmp_path):
    place = {"ra": [1.0, 2.0], "dec": [1.0, 2.0]}
    for group, meant in (([b"x ", b"y\0"], ["x", "y"]), ([3.0, 4.0], [3, 4])):
        path = tmp_path / "c.parquet"
        pq.write_table(pa.table({"source_id": [1, 2], "plate": group} | place), path)
        labels = toy_labels(2).with_catalog(Catalog.read(path), "plate")
        assert labels.group.tolist() == meant


def test_a_catalog_of_other_sources_is_refused(tmp_path):
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"source_id": [900, 901], "ra": [1.0, 2.0], "dec": [1.0, 2.0]}), path)
    with one_line(CatalogError, "labels: none of its 2 ids is among the 2 of the catalog"):
        toy_labels(2).with_catalog(Catalog.read(path))


@pytest.mark.parametrize(("ra", "message"), [(lambda ra: ra, None), (lambda ra: 360 - ra, "deg")])
def test_cutouts_made_for_other_positions_than_the_catalogs_are_refused(ra, message, tmp_path):
    labels = toy_labels(40)
    store = toy_store(tmp_path / "store", labels)
    place = {"ra": ra(np.linspace(0, 350, 40)) % 360, "dec": np.linspace(-50, 50, 40)}
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"source_id": labels.source_id} | place), path)
    found = labels.with_catalog(Catalog.read(path)).in_store(store)
    args = tmp_path, store, found.source_id, InputPlan.of_store(store)
    if message is None:
        PreparedCutouts.of(*args, position=found.position)
        return
    with one_line(CutoutError, "of 40 sources are over 60 arcsec from their positions in"):
        PreparedCutouts.of(*args, position=found.position)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"latent_mean": lists([[0.5, np.inf], [1, 2]])}, "'latent_mean': NaN or infinite for 1 s"),
        ({"latent_std": lists([[0.5, -0.1], [1, 2]])}, "'latent_std': NaN, infinite or negative"),
        ({"latent_mean": pa.array([["a", "b"]] * 2)}, "column 'latent_mean': holds lists of text"),
        ({"latent_mean": pa.array([[[1.0, 2.0]]] * 2)}, "column 'latent_mean': holds lists"),
        ({"latent_mean": pa.array([[1.0, 2.0], [1.0]])}, "holds lists of 2 and of 1 numbers"),
    ],
)
def test_latents_that_are_no_numbers_are_refused(columns, message, tmp_path):
    with one_line(SpectrumError, message):
        Labels.of_latents(latents(tmp_path, **({"source_id": [1, 2]} | columns)), DECODER)


def test_predictions_are_not_taken_for_labels(tmp_path):
    path = latents(tmp_path, {"ensemble": {"name": "mock-ps1"}}, source_id=[1, 2])
    with one_line(SpectrumError, "its latents are predictions of an ensemble, not measured"):
        Labels.of_latents(path, DECODER)


@pytest.mark.parametrize("name", ["error", "sigma", "FLUX_ERR", "variance"])
def test_errors_under_another_name_are_not_ignored(name, tmp_path):
    flux = np.repeat(Basis.shipped().mean[None], 3, axis=0)
    for path in (tmp_path / "s.npz", tmp_path / "s.parquet"):
        columns = {"source_id": np.arange(3), "flux": flux, name: np.ones_like(flux)}
        if path.suffix == ".npz":
            np.savez(path, **columns)
        else:
            made = {k: v if v.ndim == 1 else lists(v) for k, v in columns.items()}
            pq.write_table(pa.table(made), path)
        for read in (lambda path: Labels.of_spectra(path, DECODER), TrainingSpectra.read):
            with one_line(SpectrumError, f"'{name}' is not read on the rest-frame grid. Give 'iv"):
                read(path)


def test_a_spectrum_beyond_all_numbers_is_left_out_and_the_others_are_kept(tmp_path):
    flux = np.repeat(Basis.shipped().mean[None], 3, axis=0)
    flux[1] *= 1e200
    np.savez(tmp_path / "s.npz", source_id=np.arange(3), flux=flux)
    labels = Labels.of_spectra(tmp_path / "s.npz", DECODER)
    assert labels.source_id.tolist() == [0, 2]
    assert labels.left_out == {"unusable spectra": 1}


def test_arrays_of_either_byte_order_are_read(tmp_path):
    flux = np.repeat(Basis.shipped().mean[None], 2, axis=0)
    np.savez(tmp_path / "s.npz", source_id=np.array([7, 8], ">i8"), flux=flux.astype(">f4"))
    labels = Labels.of_spectra(tmp_path / "s.npz", DECODER)
    assert labels.source_id.tolist() == [7, 8]
    assert labels.mean == pytest.approx(DECODER.encode(flux)[0], abs=1e-3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"source_id": [1], "flux": np.ones((1, 1000)) * 1j}, "holds complex128, expected numbers"),
        ({"source_id": [1], "flux": np.full((1, 1000), "a")}, "holds <U1, expected numbers"),
        ({"source_id": [1, 2], "flux": np.ones((1, 1000))}, "expected numbers of shape (2, 1000)"),
        ({"source_id": [1j], "flux": np.ones((1, 1000))}, "damaged or cut short"),
        ({"source_id": np.array([{}]), "flux": np.ones((1, 1000))}, "damaged or cut short"),
    ],
)
def test_arrays_that_are_no_spectra_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "s.npz", **arrays)
    with one_line(SpectrumError, message):
        Labels.of_spectra(tmp_path / "s.npz", DECODER)


# ---------------------------------------------------------------- folders


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("sky") / "cutouts", toy_labels())


@pytest.mark.parametrize("name", ["training.json", "member-1.safetensors", "decoder.safetensors"])
def test_files_that_no_training_wrote_are_not_written_over(name, store, tmp_path):
    (tmp_path / name).write_text("mine")
    with one_line(OutputError, f"{name}: already exists. Choose another folder"):
        train_into(tmp_path, store, toy_labels(), toy_plan(store), DECODER, quiet)
    assert (tmp_path / name).read_text() == "mine"


def test_a_store_is_no_place_for_the_ensemble_that_is_trained_on_it(store):
    before = sorted(store.path.iterdir())
    with one_line(OutputError, "which is read by the same command"):
        train_into(store.path, store, toy_labels(), toy_plan(store), DECODER, quiet)
    assert sorted(store.path.iterdir()) == before


def test_a_folder_called_training_beside_a_card_is_left_alone(store, tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "notes.txt").write_text("mine")
    (tmp_path / "card.json").write_text("{}")
    with one_line(OutputError, "already holds a finished ensemble"):
        train_into(tmp_path, store, toy_labels(), toy_plan(store), DECODER, quiet)
    assert (tmp_path / "training" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("plan", [b"", b"[1]", b'{"members": 2', b"\xff\xfe", b"3"])
def test_a_damaged_plan_is_refused_with_what_to_do(plan, store, tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "lock").touch()
    (tmp_path / "training" / "plan.json").write_bytes(plan)
    with one_line(EnsembleError, "Delete its folder to begin anew"):
        train_into(tmp_path, store, toy_labels(), toy_plan(store), DECODER, quiet)


@pytest.mark.parametrize("damaged", ["pixels.npy", "pixels.json"])
def test_damaged_cutouts_of_a_training_are_prepared_again(damaged, store, tmp_path):
    ids, plan = store.source_ids(), InputPlan.of_store(store, binning=2)
    whole = PreparedCutouts.of(tmp_path, store, ids, plan).read(np.arange(N))
    content = bytearray((tmp_path / damaged).read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / damaged).write_bytes(content[:-3])
    again = PreparedCutouts.of(tmp_path, store, ids, plan)
    assert np.array_equal(again.read(np.arange(N)), whole)
    assert json.loads((tmp_path / "pixels.json").read_bytes())["status"] == again.status.tolist()


def test_a_decoder_is_not_trained_into_an_ensemble_or_its_spectra(tmp_path, galaxies):
    recipe = DecoderRecipe(epochs=1, batch=32)
    np.savez(tmp_path / "s.npz", flux=galaxies(130))
    (tmp_path / "training.json").write_text("an ensemble's")
    with one_line(OutputError, "training.json: already exists. Choose another folder"):
        train_decoder_into(tmp_path / "s.npz", tmp_path, recipe, quiet)
    assert (tmp_path / "training.json").read_text() == "an ensemble's"
