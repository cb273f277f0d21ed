"""Labels: encoded or read, with their noise, and joined with catalog and store."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from targetsel.errors import CatalogError, SpectrumError
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import measure
from targetsel.spectra.rest_frame import Basis
from targetsel.spectra.spectrum import Spectra
from targetsel.tables.files import sha256_of_file
from targetsel.tables.parquet import write_table
from targetsel.training.labels import Labels, matched
from tests.training.toy_sky import toy_decoder, toy_labels, toy_store

N = 12


@pytest.fixture(scope="module")
def decoder():
    return toy_decoder()


def spectra_arrays(n=N, noise=0.05):
    """Ids, noisy flux, inverse variance, and flux without noise."""
    basis, rng = Basis.shipped(), np.random.default_rng(1)
    true = basis.mean + 0.02 * rng.normal(size=(n, len(basis.components))) @ basis.components
    sigma = noise * np.abs(true).mean(axis=1, keepdims=True)
    flux = true + sigma * rng.normal(size=true.shape)
    return np.arange(100, 100 + n), flux, np.repeat(1 / sigma**2, 1000, axis=1), true


def lists(values):
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def spectra_file(folder, ids, flux, ivar, true=None, **more):
    columns = {"source_id": ids, "flux": lists(flux), "ivar": lists(ivar)} | more
    if true is not None:
        columns["flux_true"] = lists(true)
    path = folder / "spectra.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def latents_file(folder, ids, mean, std=None, footer=None):
    columns = {"source_id": pa.array(ids), "latent_mean": lists(mean)}
    if std is not None:
        columns["latent_std"] = lists(std)
    path = folder / "latents.parquet"
    write_table(pa.table(columns), path, footer)
    return path


# ---------------------------------------------------------------- encoded


def test_labels_of_spectra_are_their_encodings(decoder, tmp_path):
    ids, flux, ivar, _ = spectra_arrays()
    labels = Labels.of_spectra(spectra_file(tmp_path, ids, flux, ivar), decoder)
    mean, _ = decoder.encode(flux)
    assert labels.source_id.tolist() == ids.tolist()
    assert labels.mean == pytest.approx(mean, abs=1e-4)
    proxies = measure(Spectra(ids, flux[:, None], wavelengths()))
    assert labels.measured["d4000"] == pytest.approx(proxies["d4000"][:, 0], rel=1e-4)


def test_label_noise_is_the_scatter_under_fresh_noise_and_grows_with_it(decoder, tmp_path):
    _, _, ivar, true = spectra_arrays(n=1)
    repeats = true + np.random.default_rng(5).normal(size=(2000, 1000)) / np.sqrt(ivar)
    expected = decoder.encode(repeats)[0].std(axis=0)
    many = np.arange(400)
    arrays = (np.repeat(each, 400, axis=0) for each in (true, ivar))
    labels = Labels.of_spectra(spectra_file(tmp_path, many, *arrays), decoder)
    assert np.sqrt((labels.noise**2).mean(axis=0)) == pytest.approx(expected, rel=0.1)


def test_label_noise_follows_from_seed_and_id_alone(decoder, tmp_path):
    ids, flux, ivar, _ = spectra_arrays()
    first = Labels.of_spectra(spectra_file(tmp_path, ids, flux, ivar), decoder)
    turned = spectra_file(tmp_path, ids[::-1].copy(), flux[::-1].copy(), ivar[::-1].copy())
    second = Labels.of_spectra(turned, decoder)
    assert second.noise[::-1] == pytest.approx(first.noise, rel=1e-3)
    assert Labels.of_spectra(turned, decoder, seed=1).noise != pytest.approx(second.noise, rel=1e-3)


def test_spectra_free_of_noise_give_labels_free_of_noise(decoder, tmp_path):
    ids, flux, ivar, true = spectra_arrays()
    path = spectra_file(tmp_path, ids, flux, ivar, true)
    labels = Labels.of_spectra(path, decoder, column="flux_true")
    assert (labels.noise == 0).all()
    assert labels.mean == pytest.approx(decoder.encode(true)[0], abs=1e-4)


def test_npz_and_parquet_give_the_same_labels(decoder, tmp_path):
    ids, flux, ivar, _ = spectra_arrays()
    np.savez(tmp_path / "spectra.npz", source_id=ids, flux=flux, ivar=ivar)
    one = Labels.of_spectra(tmp_path / "spectra.npz", decoder)
    assert one.sha256 == Labels.of_spectra(spectra_file(tmp_path, ids, flux, ivar), decoder).sha256


def test_masked_pixels_are_filled_and_unusable_spectra_counted(decoder, tmp_path):
    ids, flux, ivar, _ = spectra_arrays()
    flux[0, 200:230], ivar[0, 200:230] = np.nan, 0.0  # a gap
    flux[1, 5] = np.nan  # claims to be measured
    ivar[2] = 0.0  # nothing is
    flux[3] *= -1  # no light
    labels = Labels.of_spectra(spectra_file(tmp_path, ids, flux, ivar), decoder)
    assert labels.source_id.tolist() == [100, *range(104, 112)]
    assert labels.left_out == {"unusable spectra": 3}
    assert np.isfinite(labels.mean).all()
    assert np.isfinite(labels.noise).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source_id": [1]}, "no 'flux' among source_id"),
        ({"id": [1], "flux": [[1.0]]}, "no 'source_id' among id, flux"),
        ({"source_id": [1], "flux": [[1.0, 2.0]]}, "lists of 2 numbers; expected 1000"),
        ({"source_id": [1], "flux": [1.0]}, "column 'flux': holds numbers; expected lists of 1000"),
        (
            {"source_id": [1], "flux": [[1.0]], "wavelength": [[1.0]], "redshift": [0.1]},
            "holds observed spectra .* Encode them with 'targetsel spectra encode'",
        ),
    ],
)
def test_spectra_of_another_kind_are_refused(columns, message, decoder, tmp_path):
    path = tmp_path / "spectra.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(SpectrumError, match=message):
        Labels.of_spectra(path, decoder)


def test_a_missing_or_damaged_or_foreign_file_is_refused(decoder, tmp_path):
    with pytest.raises(SpectrumError, match=r"none\.parquet: no such file"):
        Labels.of_spectra(tmp_path / "none.parquet", decoder)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(SpectrumError, match=r"bad\.parquet: not a Parquet file, or damaged"):
        Labels.of_spectra(tmp_path / "bad.parquet", decoder)
    (tmp_path / "spectra.csv").write_text("flux\n1\n")
    with pytest.raises(
        SpectrumError, match=r"expected a table in Parquet, FITS, VOTable or ECSV, or \.npz"
    ):
        Labels.of_spectra(tmp_path / "spectra.csv", decoder)


# ---------------------------------------------------------------- read


def test_latents_without_noise_have_none_and_rows_without_latents_are_left_out(decoder, tmp_path):
    mean = np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, 5.0]])
    labels = Labels.of_latents(latents_file(tmp_path, ["a", "b", "c"], mean), decoder)
    assert labels.source_id.tolist() == ["a", "c"]
    assert labels.mean.tolist() == [[1.0, 2.0], [3.0, 5.0]]
    assert (labels.noise == 0).all()
    assert labels.left_out == {"without latents": 1}


@pytest.mark.parametrize("ending", ["fits", "ecsv", "vot"])
def test_latents_and_spectra_may_be_tables_of_any_format(decoder, tmp_path, ending):
    path = latents_file(tmp_path, [7, 9], np.eye(2), footer={"images": "simulated"})
    write_table(pq.read_table(path), tmp_path / f"latents.{ending}", {"images": "simulated"})
    labels = Labels.of_latents(tmp_path / f"latents.{ending}", decoder)
    assert (labels.source_id.tolist(), labels.mean.tolist()) == ([7, 9], np.eye(2).tolist())
    assert labels.simulated
    ids, flux, ivar, _ = spectra_arrays(3)
    path = spectra_file(tmp_path, ids, flux, ivar)
    write_table(pq.read_table(path), tmp_path / f"spectra.{ending}")
    one, other = (
        Labels.of_spectra(tmp_path / f"spectra.{e}", decoder) for e in ("parquet", ending)
    )
    assert other.mean == pytest.approx(one.mean)
    assert other.source_id.tolist() == one.source_id.tolist()


def test_noise_is_read_where_it_is_given(decoder, tmp_path):
    path = latents_file(tmp_path, [1], np.ones((1, 2)), np.array([[0.1, 0.2]]))
    assert Labels.of_latents(path, decoder).noise == pytest.approx(np.array([[0.1, 0.2]]))


def test_nan_latents_are_refused_and_the_first_is_named(decoder, tmp_path):
    path = latents_file(tmp_path, [4, 5], np.array([[1.0, 2.0], [3.0, np.nan]]))
    with pytest.raises(SpectrumError, match=r"'latent_mean': NaN or infinite for 1 sou.* '5'"):
        Labels.of_latents(path, decoder)


def test_latents_of_another_decoder_are_refused(decoder, tmp_path):
    decoder.write(tmp_path / "decoder.safetensors")
    ours = sha256_of_file(tmp_path / "decoder.safetensors")
    path = latents_file(tmp_path, [1], np.ones((1, 2)), footer={"decoder_sha256": ours})
    assert len(Labels.of_latents(path, decoder, tmp_path / "decoder.safetensors")) == 1
    path = latents_file(tmp_path, [1], np.ones((1, 2)), footer={"decoder_sha256": "0"})
    with pytest.raises(SpectrumError, match="latents are those of another decoder than"):
        Labels.of_latents(path, decoder, tmp_path / "decoder.safetensors")


def test_latents_of_another_number_are_refused(decoder, tmp_path):
    with pytest.raises(SpectrumError, match="lists of 3 numbers; expected 2"):
        Labels.of_latents(latents_file(tmp_path, [1], np.ones((1, 3))), decoder)


def test_a_source_labelled_twice_is_refused():
    with pytest.raises(SpectrumError, match="source '4' has 2 rows, expected one"):
        Labels(np.array([4, 4]), np.zeros((2, 2)), np.zeros((2, 2)))


# ---------------------------------------------------------------- joined


def catalog_file(folder, **columns):
    n = len(next(iter(columns.values())))
    table = {"ra": np.linspace(1, 9, n), "dec": np.linspace(1, 9, n)} | columns
    path = folder / "catalog.parquet"
    pq.write_table(pa.table(table), path)
    return Catalog.read(path)


def test_ids_match_whether_they_are_numbers_or_text():
    assert matched(np.array([3, 9]), np.array(["9", "x"], dtype=object)).tolist() == [-1, 0]


def test_a_catalog_gives_groups_weights_and_columns(tmp_path):
    catalog = catalog_file(
        tmp_path,
        source_id=[3, 1, 9],
        group_id=[30, 10, 90],
        weight=[3.0, 1.0, 9.0],
        rmag=[17.0, 18.0, 19.0],
        name=["c", "a", "i"],
    )
    labels = toy_labels(3).with_catalog(catalog)
    assert labels.source_id.tolist() == [1, 3]
    assert labels.group.tolist() == [10, 30]
    assert labels.weight.tolist() == [1.0, 3.0]
    assert labels.about["rmag"].tolist() == [18.0, 17.0]
    assert "name" not in labels.about
    assert labels.left_out["not in the catalog"] == 1


def test_a_named_column_groups_and_without_any_each_source_is_its_own(tmp_path):
    catalog = catalog_file(tmp_path, source_id=[1, 2], plate=["x", "x"])
    assert toy_labels(2).with_catalog(catalog, "plate").group.tolist() == ["x", "x"]
    assert toy_labels(2).with_catalog(catalog).group.tolist() == [1, 2]


def test_groups_and_weights_that_make_no_sense_are_refused(tmp_path):
    labels = toy_labels(2)
    with pytest.raises(CatalogError, match=r"no column 'plat' to group by.*Did you mean 'plate'"):
        labels.with_catalog(catalog_file(tmp_path, source_id=[1, 2], plate=["x", "x"]), "plat")
    with pytest.raises(CatalogError, match=r"'plate': ids are floats .* 0\.5 is no whole number"):
        labels.with_catalog(catalog_file(tmp_path, source_id=[1, 2], plate=[0.5, 1.0]), "plate")
    with pytest.raises(CatalogError, match="'plate': no group for 1 source"):
        labels.with_catalog(catalog_file(tmp_path, source_id=[1, 2], plate=["x", None]), "plate")
    with pytest.raises(CatalogError, match="column 'weight': expected numbers from 0 up"):
        labels.with_catalog(catalog_file(tmp_path, source_id=[1, 2], weight=[1.0, -1.0]))
    with pytest.raises(CatalogError, match="'weight': holds text; expected numbers"):
        labels.with_catalog(catalog_file(tmp_path, source_id=[1, 2], weight=["a", "b"]))


def test_sources_without_weight_are_left_out(tmp_path):
    catalog = catalog_file(tmp_path, source_id=[1, 2, 3], weight=[1.0, 0.0, 2.0])
    labels = toy_labels(3).with_catalog(catalog)
    assert labels.source_id.tolist() == [1, 3]
    assert labels.left_out["of weight 0"] == 1


def test_sources_are_split_alike_whether_the_labels_have_their_ids_as_numbers_or_text(tmp_path):
    labels = toy_labels(40)
    store = toy_store(tmp_path / "store", labels)
    each = replace(labels, group=labels.source_id)
    text = replace(each, source_id=each.source_id.astype(str), group=each.source_id.astype(str))
    assert text.in_store(store).group.dtype == each.in_store(store).group.dtype == np.int64
    assert labels.in_store(store).group.tolist() != each.in_store(store).group.tolist()


def test_labels_do_not_follow_the_number_of_threads(decoder, tmp_path):
    flux = np.random.default_rng(1).normal(1.0, 0.1, (5, 1000)).astype(np.float32)
    np.savez(tmp_path / "s.npz", source_id=np.arange(5), flux=flux)
    before, seen = torch.get_num_threads(), []
    encode = decoder.encode
    decoder.encode = lambda flux: (seen.append(torch.get_num_threads()), encode(flux))[1]
    try:
        torch.set_num_threads(2)
        Labels.of_spectra(tmp_path / "s.npz", decoder)
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_labels_are_brought_to_the_order_of_the_store_and_the_others_counted(tmp_path):
    store = toy_store(tmp_path / "store", toy_labels(40))
    labels = toy_labels(50).take(np.arange(49, 9, -1))
    joined = labels.in_store(store)
    assert joined.source_id.tolist() == [each for each in store.source_ids() if each > 10]
    assert joined.left_out == {"labels without cutout": 10, "cutouts without label": 10}
    place = {each: row for row, each in enumerate(labels.source_id)}
    assert np.array_equal(joined.mean, labels.mean[[place[each] for each in joined.source_id]])


def test_labels_know_of_simulated_images_from_their_file_or_from_the_store(decoder, tmp_path):
    path = latents_file(tmp_path, [1], np.ones((1, 2)), footer={"images": "simulated"})
    assert Labels.of_latents(path, decoder).simulated
    path = latents_file(tmp_path, np.arange(1, 41), toy_labels(40).mean)
    labels = Labels.of_latents(path, decoder)
    store = toy_store(tmp_path / "store", toy_labels(40))
    assert not labels.in_store(store).simulated
    store = toy_store(tmp_path / "mock", toy_labels(40), footer={"images": "simulated"})
    assert labels.in_store(store).simulated


def test_a_store_of_other_sources_is_refused(tmp_path):
    store = toy_store(tmp_path / "store", toy_labels(40))
    other = Labels(np.array([99]), np.zeros((1, 2)), np.zeros((1, 2)))
    with pytest.raises(SpectrumError, match=r"none of its 40 sources .* among the 1 with labels"):
        other.in_store(store)


def test_a_constant_latent_is_refused(tmp_path):
    labels = toy_labels(40)
    labels.mean[:, 1] = 0.25
    store = toy_store(tmp_path / "store", labels)
    with pytest.raises(SpectrumError, match=r"latent 1 is 0\.25 for all 40 sources"):
        labels.in_store(store)


def test_the_hash_knows_latents_and_groups_but_not_the_order():
    labels = toy_labels(20)
    assert labels.take(np.arange(20)[::-1]).sha256 == labels.sha256
    changed = toy_labels(20)
    changed.mean[3, 0] += 1e-6
    assert changed.sha256 != labels.sha256
    assert Labels(labels.source_id, labels.mean, labels.noise).sha256 != labels.sha256


def brightness(n, faintest, seed):
    """Columns of a catalog of n sources to a faintest magnitude."""
    r = 16 + (faintest - 16) * np.random.default_rng(seed).random(n)
    return {"source_id": np.arange(1, n + 1), "gmag": r + 0.6, "rmag": r}


def test_labels_like_a_fainter_catalog_weigh_their_faint_sources_more(tmp_path):
    ours = catalog_file(tmp_path, **brightness(240, 19, 1), weight=np.full(240, 2.0))
    target = catalog_file(tmp_path, **brightness(900, 18, 2))
    labels = toy_labels().with_catalog(ours)
    found = labels.like(CatalogFile.open(target), ours)
    rmag = dict(zip(ours.source_id.tolist(), ours.table["rmag"].to_pylist(), strict=True))
    faint = np.array([rmag[each] for each in found.source_id.tolist()]) > 18.2
    n_gone = found.left_out["unlike all sources of the catalog"]
    assert len(found) == 240 - n_gone < 200
    assert faint.sum() < 15
    assert found.weight.sum() == pytest.approx(240)
    assert found.sampled.tolist() == [2.0] * len(found)
    assert found.selection.n_labelled == 240
    assert len({labels.sha256, found.sha256, replace(found, sampled=None).sha256}) == 3


def test_sources_of_another_catalog_get_no_weights(tmp_path):
    ours = catalog_file(tmp_path, **{**brightness(40, 19, 1), "source_id": np.arange(1000, 1040)})
    with pytest.raises(CatalogError, match="none of its 240 ids is among the 40 of the catalog"):
        toy_labels().like(CatalogFile.open(ours), ours)
