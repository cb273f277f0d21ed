"""An ensemble that predicts redshifts: `photoz` stands beside the line strengths."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError
from targetsel.imaging.store import CutoutStore
from targetsel.scored.columns import check_names, scored_columns
from targetsel.scored.file import ScoredFile
from targetsel.scored.rows import Scored
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions, score_rows
from targetsel.scoring.stream import full_provenance, provenance_of, score
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.spectra.lines import PREDICTABLE
from targetsel.spectra.photoz import OF_MEMBERS
from targetsel.spectra.proxies import correlated, proxy_names
from targetsel.tables.columns import matrix
from tests.training.redshift_sky import SCATTER


@pytest.fixture(scope="module")
def scored(redshift_sky):
    ensemble = Ensemble.read(redshift_sky.ensemble)
    catalog = Catalog.read(redshift_sky.catalog)
    store = CutoutStore.open(redshift_sky.cutouts)
    return SimpleNamespace(
        sky=redshift_sky,
        ensemble=ensemble,
        catalog=catalog,
        store=store,
        rows=score_rows(catalog, store, ensemble),
    )


def test_photoz_has_the_columns_of_a_proxy_behind_the_others(scored):
    names = scored.rows.column_names
    added = [column.name for column in scored_columns(2, 2, redshift=True)]
    assert names[-len(added) :] == added
    assert proxy_names(scored.rows.schema) == PREDICTABLE
    assert correlated(scored.rows.schema)["photoz"] == list(PREDICTABLE[:-1])


def test_the_catalogs_own_redshift_keeps_its_place_and_values(scored):
    assert scored.rows.column_names.index("redshift") == 3
    assert scored.rows["redshift"].to_numpy().tolist() == scored.sky.redshift.tolist()


def test_photoz_is_near_the_redshift_and_about_as_wide_as_its_errors(scored):
    photoz = scored.rows["photoz"].to_numpy()
    error = np.log1p(photoz) - np.log1p(scored.sky.redshift)
    assert np.std(error) < 2.5 * SCATTER
    width = scored.rows["photoz_std"].to_numpy() / (1 + photoz)
    assert 0.4 < np.std(error) / np.median(width) < 2.5


def test_quantiles_of_photoz_are_those_of_the_networks_posterior(scored):
    posterior = scored.ensemble.predict(scored.store.read(scored.catalog.source_id[:20]))
    expected = np.expm1(posterior.knots()[:, -1])
    found = matrix(scored.rows["photoz_quantiles"])[:20]
    width = expected[:, 7] - expected[:, 3]
    assert np.abs(found - expected)[:, 2:-2].max() < 0.15 * width.max()


def test_a_source_depends_on_itself_alone_in_photoz_too(scored):
    some = scored.catalog[7:9]
    again = score_rows(some, scored.store, scored.ensemble)
    assert again.equals(scored.rows.slice(7, 2), check_metadata=False)


@pytest.fixture(scope="module")
def own(scored):
    """The first sources with a column `photoz` of the catalog's own."""
    some = scored.catalog.table.slice(0, 20)
    return Catalog.read(some.append_column("photoz", pa.array(np.full(20, 0.5))))


@pytest.mark.parametrize("slim", [False, True])
def test_a_photoz_of_the_catalogs_own_stays_and_changes_no_line_strength(scored, own, slim):
    options = ScoreOptions(slim=slim)
    rows = score_rows(own, scored.store, scored.ensemble, options)
    assert rows["photoz"].to_pylist() == [0.5] * 20
    assert proxy_names(rows.schema) == PREDICTABLE[:-1]
    assert {*OF_MEMBERS, "photoz_std"}.isdisjoint(rows.column_names)
    usual = score_rows(scored.catalog[:20], scored.store, scored.ensemble, options)
    same = [name for name in rows.column_names if name != "photoz"]
    assert rows.select(same).equals(usual.select(same))


def test_a_percentile_of_the_catalogs_own_redshift_stays_too(scored):
    some = scored.catalog.table.slice(0, 2).append_column("photoz_q16", pa.array([0.1, 0.2]))
    rows = score_rows(Catalog.read(some), scored.store, scored.ensemble)
    assert [name for name in rows.column_names if "photoz" in name] == ["photoz_q16"]


def test_score_says_that_redshifts_are_left_out_and_why(scored, own, tmp_path):
    path, out = tmp_path / "own.parquet", tmp_path / "out.parquet"
    pq.write_table(own.table, path)
    said = score(CatalogFile.open(path), scored.store, scored.ensemble, out).redshift_left_out
    assert said == (
        "redshifts are predicted but not written: the catalog has the column 'photoz' of its own. "
        "Rename it to have both"
    )
    with ScoredFile(out) as file:
        assert file.footer["redshift_left_out"] == said


def test_nothing_is_left_out_without_such_a_column_or_without_predicted_redshifts(
    scored, own, ensemble_folder
):
    options = ScoreOptions()
    for catalog, ensemble in (
        (scored.catalog, scored.ensemble),
        (own, Ensemble.read(ensemble_folder)),
    ):
        schema = catalog.table.schema
        told = full_provenance(schema, scored.store, ensemble, options, None, False)
        assert "redshift_left_out" not in told


def test_line_strengths_of_draws_do_without_the_redshift(scored):
    posterior = scored.ensemble.predict(scored.store.read(scored.catalog.source_id[:3]))
    found = scored.ensemble.measure(posterior.draw(64), posterior)
    assert found.names == PREDICTABLE[:-1]


def test_a_scored_file_keeps_all_of_it(scored, tmp_path):
    out = tmp_path / "scored.parquet"
    score(CatalogFile.open(scored.sky.catalog), scored.store, scored.ensemble, out)
    with ScoredFile(out) as file:
        assert proxy_names(file.schema) == PREDICTABLE
        table = next(iter(file.tables()))
        assert file.footer["aperture"] == 3.0
    assert "of the light in a fiber of 3 arcsec" in Scored(out).summary()
    order = np.argsort(table["source_id"].to_numpy())
    for name in ("photoz", "member_log1z_mean", "photoz_correlation"):
        assert table[name].take(pa.array(order)).equals(scored.rows[name]), name


def test_a_photoz_of_the_catalog_is_a_column_like_others_beside_no_line_strength():
    check_names(pa.schema([("photoz", pa.float64())]), "a.fits")
    both = pa.schema([("photoz", pa.float64()), ("ew_oii", pa.float64())])
    with pytest.raises(CatalogError, match="has the column 'ew_oii', which score would write"):
        check_names(both, "a.fits")


def test_an_aperture_is_told_by_the_card_and_where_none_is_stated_by_no_footer(
    scored, ensemble_folder
):
    assert scored.ensemble.card["aperture"] == 3.0
    options = ScoreOptions()
    assert provenance_of(scored.store, scored.ensemble, options)["aperture"] == 3.0
    assert "aperture" not in provenance_of(scored.store, Ensemble.read(ensemble_folder), options)


def test_slim_rows_keep_photoz_rounded_within_its_width(scored):
    catalog = scored.catalog[:20]
    rows = score_rows(catalog, scored.store, scored.ensemble, ScoreOptions(slim=True))
    assert {"member_mean", "member_log1z_mean"}.isdisjoint(rows.column_names)
    assert proxy_names(rows.schema) == PREDICTABLE
    full = scored.rows.slice(0, 20)
    off = np.abs(rows["photoz"].to_numpy() - full["photoz"].to_numpy())
    assert 0 < off.max()
    assert (off <= full["photoz_std"].to_numpy() / 60).all()
