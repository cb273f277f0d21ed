"""From a scored file and the truth about its sources to a calibration, or a plain refusal."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.calibration.calibration import FILE_NAME, Calibration
from targetsel.calibration.fitting import calibrate, read_known
from targetsel.errors import CatalogError, EnsembleError
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.scoring.ensemble import Ensemble, find_ensemble
from targetsel.sky.catalog import CatalogFile
from targetsel.spectra.lines import PROXIES
from targetsel.tables.parquet import read_footer, write_table
from tests.calibration.known_sky import D, N, lists, posterior, write_known


@pytest.fixture(scope="module")
def ensemble(ensemble_folder):
    return Ensemble.read(ensemble_folder)


@pytest.fixture(scope="module")
def files(ensemble, tmp_path_factory):
    """A scored file and its truth; read only."""
    return write_known(tmp_path_factory.mktemp("known"), ensemble)


@pytest.fixture(scope="module")
def found(files, ensemble):
    return calibrate(*files, ensemble)


def changed(path, place, **columns):
    """A copy of a Parquet file with some columns replaced, or dropped where None."""
    table = pq.read_table(path)
    for name, values in columns.items():
        at = table.column_names.index(name)
        table = table.remove_column(at)
        if values is not None:
            table = table.add_column(at, name, values)
    write_table(table, place, read_footer(path))
    return place


def test_on_sources_it_was_not_fitted_to_intervals_hold_what_they_claim(found):
    coverages = found.coverage_of_90_percent
    assert list(coverages) == [f"latent {k + 1}" for k in range(D)] + [*PROXIES]
    for each in coverages.values():
        # 190 sources: a standard deviation of 2.2 points
        assert each.before < 0.8, each
        assert each.after == pytest.approx(0.9, abs=0.08), each
        assert each.n == pytest.approx(0.3 * N, abs=40)
    assert np.mean([each.after for each in coverages.values()]) == pytest.approx(0.9, abs=0.025)


def test_deviations_twice_as_large_as_claimed_are_found(found):
    latents = found.latents
    predicted = posterior()
    after = latents.apply(predicted, np.full(N, 17.0))
    wider = np.sqrt(np.diagonal(after.cov / predicted.cov, axis1=1, axis2=2))
    assert np.median(wider) == pytest.approx(2.0, rel=0.15)


def test_a_calibration_says_what_it_was_fitted_to(found, files, ensemble):
    calibration = found
    assert calibration.ensemble == {"name": "tiny", "sha256": ensemble.sha256}
    assert calibration.simulated is True
    assert calibration.n_fitted == N
    assert calibration.n_checked == pytest.approx(0.3 * N, abs=40)
    assert len(calibration.truth_sha256) == 64
    assert calibration.coverage_of_90_percent["d4000"].before < 0.8
    assert str(files[0].parent) not in calibration.model_dump_json()


def test_row_order_changes_nothing(files, ensemble, tmp_path):
    scored, truth = files
    order = np.random.default_rng(3).permutation(N)
    table = pq.read_table(truth, columns=["source_id", "latent"])
    cards = []
    for k, rows in enumerate((table, table.take(pa.array(order)))):
        write_table(rows, tmp_path / f"{k}.parquet", read_footer(truth))
        calibration = calibrate(scored, tmp_path / f"{k}.parquet", ensemble)
        cards.append(calibration.model_dump(mode="json") | {"truth_sha256": ""})
    assert cards[0] == cards[1]


def test_proxies_alone_give_a_calibration_of_proxies(files, ensemble, tmp_path):
    scored, truth = files
    calibration = calibrate(
        scored, changed(truth, tmp_path / "truth.parquet", latent=None), ensemble
    )
    assert calibration.latents is None
    assert calibration.residual is None
    coverages = calibration.coverage_of_90_percent
    assert list(coverages) == list(PROXIES)
    assert np.mean([each.after for each in coverages.values()]) == pytest.approx(0.9, abs=0.03)


def test_latents_alone_give_a_calibration_of_latents(files, ensemble, tmp_path):
    scored, truth = files
    nothing = dict.fromkeys(PROXIES)
    calibration = calibrate(scored, changed(truth, tmp_path / "truth.parquet", **nothing), ensemble)
    assert calibration.residual is None
    assert calibration.maps == {}
    assert len(calibration.coverage_of_90_percent) == D


def test_sources_of_which_nothing_is_known_often_enough_are_refused_with_the_least_number(
    files, ensemble, tmp_path
):
    scored, truth = files
    rows = np.arange(N)
    values = {name: np.full(N, np.nan) for name in PROXIES}
    values["ew_halpha"], values["d4000"] = (np.where(some, 1.0, np.nan)
                                            for some in (rows < 320, rows >= 320))  # fmt: skip
    columns = {name: pa.array(each) for name, each in values.items()}
    place = changed(truth, tmp_path / "truth.parquet", latent=None, **columns)
    with pytest.raises(CatalogError) as error:
        calibrate(scored, place, ensemble)
    assert str(error.value).endswith(
        "of its 620 scored sources, latents are known of 0 and no line strength of more than 320 "
        "('ew_halpha'). A calibration needs 400 sources of known latents, or 400 of which one and "
        "the same line strength is known. Give more."
    )


def test_sources_of_one_group_are_never_parted(files, ensemble, tmp_path):
    scored, truth = files
    table = pq.read_table(truth)
    one = table.append_column("group_id", pa.array(np.zeros(N, np.int64)))
    write_table(one, tmp_path / "truth.parquet", read_footer(truth))
    with pytest.raises(CatalogError, match=r"620 sources are of too few groups \('group_id'\)"):
        calibrate(scored, tmp_path / "truth.parquet", ensemble)


def test_a_calibration_lies_with_its_ensemble_and_comes_back(found, ensemble_folder, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(ensemble_folder, folder)
    ensemble, calibration = Ensemble.read(folder), found
    calibration.write(folder)
    again = Calibration.read(folder, ensemble.sha256, D)
    assert again.sha256 == calibration.sha256
    magnitude = np.full(N, 17.0)
    one, other = (each.posterior(posterior(), magnitude) for each in (calibration, again))
    assert one.cov == pytest.approx(other.cov, rel=1e-5)
    assert Calibration.read(ensemble_folder, ensemble.sha256, D) is None


def test_a_calibration_of_another_ensemble_is_refused(found, tmp_path):
    found.write(tmp_path)
    with pytest.raises(EnsembleError, match=r"was fitted for the ensemble .* Fit it again with"):
        Calibration.read(tmp_path, "0" * 64, D)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda whole: "{", "not valid JSON"),
        (lambda whole: "[]", "expected"),
        (lambda whole: json.dumps(whole | {"schema": "x"}), "schema is 'x'; expected 'targetsel/c"),
        (
            lambda whole: json.dumps({k: v for k, v in whole.items() if k != "proxies"}),
            "missing key 'proxies'",
        ),
        (
            lambda whole: json.dumps(whole | {"latents": {"deviations": {"offset": [1]}}}),
            "the deviations lack 'factor'",
        ),
        (
            lambda whole: json.dumps(
                whole | {"proxies": {k: v for k, v in whole["proxies"].items() if k != "ew_sii"}}
            ),
            "the local calibration is of 'ew_sii', which has no map",
        ),
        (lambda whole: json.dumps(whole).replace("0.", "NaN"), "NaN is no number"),
    ],
)
def test_a_damaged_calibration_is_refused(found, ensemble, tmp_path, spoil, message):
    found.write(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(EnsembleError, match=message) as caught:
        Calibration.read(tmp_path, ensemble.sha256, D)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("Fit it again with 'targetsel calibrate', or remove it.")


def test_local_corrections_are_fitted_after_the_maps_unless_they_are_not_wanted(
    found, files, ensemble, tmp_path
):
    assert found.local is not None
    assert found.local.shift.keys() == found.maps.keys() == {*PROXIES}
    plain = calibrate(*files, ensemble, local=False)
    assert plain.local is None
    for name, each in plain.maps.items():
        assert np.array_equal(each.by_prediction.values, found.maps[name].by_prediction.values)
    plain.write(tmp_path)
    again = Calibration.read(tmp_path, ensemble.sha256, D)
    assert again is not None
    assert again.local is None
    assert again.sha256 == plain.sha256


def test_the_shipped_calibration_is_written_as_it_was_read():
    folder = find_ensemble("mock-ps1")
    written = (folder / FILE_NAME).read_bytes()
    calibration = Ensemble.read(folder).calibration
    assert calibration.sha256 == hashlib.sha256(written).hexdigest()


def test_a_calibration_is_simulated_where_its_truth_or_its_scored_file_is(
    files, ensemble, tmp_path
):
    said = []
    for ours, theirs in ((None, None), (None, "simulated"), ("simulated", None)):
        scored, truth = tmp_path / "scored.parquet", tmp_path / "truth.parquet"
        for path, place, mark in zip(files, (scored, truth), (ours, theirs), strict=True):
            others = {k: v for k, v in read_footer(path).items() if k != "images"}
            table = pq.read_table(path)
            if path == files[1]:
                table = table.select(["source_id", "latent"])
            write_table(table, place, others | ({"images": mark} if mark else {}))
        calibration = calibrate(scored, truth, ensemble)
        said.append((calibration.simulated, "(simulated)" in calibration.summary))
    assert said == [(False, False), (True, True), (True, True)]


def test_a_proxy_without_a_map_is_named_with_what_to_do(found):
    calibration = found
    whole = f"posteriors calibrated on {N} labelled sources (simulated)"
    assert calibration.summary == whole
    assert "not_calibrated" not in calibration.provenance
    maps = {name: each for name, each in calibration.maps.items() if name != "ew_sii"}
    older = calibration.model_copy(update={"maps": maps})
    assert older.summary == (
        f"{whole}; not ew_sii: score labelled sources with --uncalibrated and fit it again with "
        "'targetsel calibrate --force'"
    )
    assert older.provenance["not_calibrated"] == ["ew_sii"]


def test_a_calibration_of_latents_alone_or_of_line_strengths_alone_says_so(found):
    of_latents = found.model_copy(update={"maps": {}, "local": None, "residual": None})
    of_strengths = found.model_copy(update={"latents": None})
    known = f"calibrated on {N} labelled sources (simulated)"
    assert of_latents.summary == f"latents {known}; no line strengths"
    assert of_latents.not_calibrated == tuple(PROXIES)
    assert of_strengths.summary == f"line strengths {known}"


def test_a_calibration_of_a_proxy_that_is_not_predicted_is_refused(found, ensemble, tmp_path):
    maps = found.maps | {"ew_new": found.maps["ew_sii"]}
    found.model_copy(update={"maps": maps}).write(tmp_path)
    with pytest.raises(EnsembleError, match=r"is of 'ew_new', which is not predicted\. Mark it"):
        Calibration.read(tmp_path, ensemble.sha256, D)


def test_a_calibration_of_another_number_of_latents_is_refused(found, ensemble, tmp_path):
    found.write(tmp_path)
    with pytest.raises(EnsembleError, match=r"is of 6 latents, but .* has 7\. Fit it again"):
        Calibration.read(tmp_path, ensemble.sha256, D + 1)


# ---------------------------------------------------------------------- bad input


def test_truth_without_any_of_the_scored_ids_is_refused(files, ensemble, tmp_path):
    scored, truth = files
    others = changed(truth, tmp_path / "t.parquet", source_id=pa.array(np.arange(N) - 5000))
    with pytest.raises(CatalogError, match=r"none of its 620 ids \(the first is '-5000'\)"):
        calibrate(scored, others, ensemble)


def test_too_few_sources_are_refused_with_the_number_that_is_needed(files, ensemble, tmp_path):
    scored, truth = files
    write_table(pq.read_table(truth).slice(0, 300), tmp_path / "t.parquet")
    with pytest.raises(
        CatalogError,
        match=r"300 labelled sources .* at least 400 for the fit\. Give about 600 such",
    ):
        calibrate(scored, tmp_path / "t.parquet", ensemble)


def test_rows_with_nan_for_a_truth_are_dropped_and_counted(files, ensemble, tmp_path):
    scored, truth = files
    table = pq.read_table(truth)
    spoilt = dict.fromkeys(PROXIES)
    latents = np.stack(table["latent"].to_pylist())
    latents[:30] = np.nan
    holed = changed(truth, tmp_path / "t.parquet", latent=lists(latents), **spoilt)
    calibration = calibrate(scored, holed, ensemble)
    assert calibration.left_out == {"with NaN for a truth": 30}
    assert calibration.n_fitted == N - 30


def test_nothing_but_nan_is_refused(files, ensemble, tmp_path):
    scored, truth = files
    nothing = {name: pa.array(np.full(N, np.nan)) for name in PROXIES}
    empty = changed(truth, tmp_path / "t.parquet", latent=None, **nothing)
    with pytest.raises(CatalogError, match="all 620 sources that were scored have NaN"):
        calibrate(scored, empty, ensemble)


def test_sources_without_a_prediction_alone_are_refused(files, ensemble, tmp_path):
    scored, truth = files
    lost = changed(scored, tmp_path / "s.parquet", status=pa.array(["no cutout"] * N))
    with pytest.raises(CatalogError, match="none of its sources has a prediction"):
        calibrate(lost, truth, ensemble)


def test_latents_of_another_decoder_are_refused(files, ensemble, tmp_path):
    scored, truth = files
    other = np.random.default_rng(4).normal(size=(N, D))
    foreign = changed(truth, tmp_path / "t.parquet", latent=lists(other))
    with pytest.raises(EnsembleError, match="latents of another decoder"):
        calibrate(scored, foreign, ensemble)
    longer = changed(truth, tmp_path / "u.parquet", latent=lists(np.zeros((N, 10))))
    with pytest.raises(CatalogError, match=r"column 'latent': 10 latents, but .* has 6"):
        calibrate(scored, longer, ensemble)


def test_latents_of_another_decoder_are_told_by_its_hash(files, ensemble, tmp_path):
    scored, truth = tmp_path / "scored.parquet", tmp_path / "truth.parquet"
    for source, place, decoder in zip(files, (scored, truth), ("1" * 64, "2" * 64), strict=True):
        footer = read_footer(source) | {"decoder_sha256": decoder}
        write_table(pq.read_table(source), place, footer)
    with pytest.raises(CatalogError, match=r"decoder 2{12}, but .* 1{12}\. Encode"):
        calibrate(scored, truth, ensemble)


def test_a_file_scored_by_another_ensemble_is_refused(ensemble, tmp_path):
    files = write_known(tmp_path, ensemble, 10, {"ensemble": {"name": "other", "sha256": "f" * 64}})
    with pytest.raises(EnsembleError, match=r"scored by the ensemble 'other' .* with --ensemble"):
        calibrate(*files, ensemble)


def test_a_file_that_is_calibrated_already_is_refused(ensemble, tmp_path):
    files = write_known(tmp_path, ensemble, 10, {"calibration": {"sha256": "f" * 64}})
    with pytest.raises(CatalogError, match=r"calibrated already\. Score it with --uncalibrated"):
        calibrate(*files, ensemble)


def test_truth_that_says_nothing_of_spectra_is_refused(files, ensemble, tmp_path):
    scored, truth = files
    bare = changed(truth, tmp_path / "t.parquet", latent=None, **dict.fromkeys(PROXIES))
    with pytest.raises(CatalogError, match="neither latents"):
        calibrate(scored, bare, ensemble)
    nameless = changed(truth, tmp_path / "u.parquet", source_id=None)
    with pytest.raises(CatalogError, match="no column 'source_id'"):
        calibrate(scored, nameless, ensemble)
    twice = changed(truth, tmp_path / "v.parquet", source_id=pa.array([1000] * N))
    with pytest.raises(CatalogError, match="are repeated"):
        calibrate(scored, twice, ensemble)


def test_an_older_scored_file_is_to_be_scored_again(files, ensemble, tmp_path):
    scored, truth = files
    older = changed(scored, tmp_path / "s.parquet", cutout_mag=None)
    with pytest.raises(CatalogError, match=r"no column .cutout_mag.,.* score the catalog again"):
        calibrate(older, truth, ensemble)


def test_ids_are_found_under_the_catalogs_own_name_for_them(files, ensemble, tmp_path):
    scored, truth = files
    footer = read_footer(scored) | {"columns": {"source_id": "objid"}}
    for path, told, name in (
        (scored, footer, "s.parquet"),
        (truth, read_footer(truth), "t.parquet"),
    ):
        table = pq.read_table(path)
        names = ["objid" if name == "source_id" else name for name in table.column_names]
        write_table(table.rename_columns(names), tmp_path / name, told)
    assert len(read_known(tmp_path / "s.parquet", tmp_path / "t.parquet", ensemble)) == N
    assert len(read_known(tmp_path / "s.parquet", truth, ensemble)) == N


def test_sources_without_latents_or_weight_do_not_mislead_the_others(files, ensemble, tmp_path):
    scored, truth = files
    latents = pq.read_table(truth)["latent"].to_pylist()
    latents[:20] = [None] * 20
    weight = np.ones(N)
    weight[20:25] = 0
    table = pq.read_table(truth).drop_columns(["latent"])
    table = table.append_column("latent", pa.array(latents, pa.list_(pa.float32())))
    table = table.append_column("weight", pa.array(weight))
    write_table(table, tmp_path / "t.parquet", read_footer(truth))
    known = read_known(scored, tmp_path / "t.parquet", ensemble)
    assert len(known) == N - 5
    there = np.isfinite(known.latents).all(axis=1)
    assert there.sum() == N - 25
    assert known.latents[there] == pytest.approx(np.array(latents[25:]), abs=1e-6)


# ---------------------------------------------------------------- like another catalog


def bright_and_faint(ids, magnitude):
    """A catalog of sources with these magnitudes in g and r."""
    fluxes = {
        f"flux_{b}_sdss": 10 ** (-0.4 * (magnitude - 31.4)) * f
        for b, f in zip("gr", (0.5, 1), strict=True)
    }
    columns = {"source_id": ids, "ra": ids * 1e-3, "dec": np.zeros(len(ids)), **fluxes}
    table = pa.table(columns)
    for name in fluxes:
        field = pa.field(name, pa.float64(), metadata={"unit": "nJy"})
        table = table.set_column(table.column_names.index(name), field, table[name])
    return table


def with_brightness(scored, place):
    """The scored file with fluxes whose magnitude is that of its cutouts."""
    table = pq.read_table(scored)
    ids, magnitude = (table[name].to_numpy().astype(float) for name in ("source_id", MAGNITUDE))
    catalog = bright_and_faint(ids, magnitude)
    for name in ("flux_g_sdss", "flux_r_sdss"):
        table = table.append_column(catalog.schema.field(name), catalog[name])
    write_table(table, place, read_footer(scored))
    return magnitude


def test_a_calibration_like_a_fainter_catalog_counts_faint_sources_for_more(ensemble, tmp_path):
    scored, truth = write_known(tmp_path, ensemble, 1200)
    with_brightness(scored, place := tmp_path / "bright.scored.parquet")
    rng = np.random.default_rng(1)
    fainter = bright_and_faint(np.arange(5000.0), 15 + 4 * rng.random(5000) ** 0.7)
    found = calibrate(place, truth, ensemble, local=False, like=CatalogFile.open(fainter))
    plain = calibrate(place, truth, ensemble, local=False)
    assert found.selection.bands == ["g_sdss", "r_sdss"]
    assert 700 < found.selection.effective < found.selection.n_labelled == 1200
    assert found.sha256 != plain.sha256
    assert plain.selection is None
    found.write(tmp_path)
    assert Calibration.read(tmp_path, ensemble.sha256, D).selection == found.selection
    assert "selection" not in json.loads(plain._bytes())


def test_labelled_sources_without_brightness_cannot_be_weighted(files, ensemble):
    target = CatalogFile.open(bright_and_faint(np.arange(500.0), np.linspace(15, 19, 500)))
    with pytest.raises(CatalogError, match="has brightness in no band, and the catalog in g_sdss"):
        calibrate(*files, ensemble, like=target)
