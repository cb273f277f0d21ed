"""The scored columns: what they are called, what they mean, and where they are null."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from astropy import units
from astropy.io.votable.ucd import check_ucd

from targetsel.calibration.joint import JointCalibration
from targetsel.errors import CatalogError
from targetsel.imaging.cutout import Cutouts
from targetsel.networks.posterior import LatentPosterior, stored_posterior
from targetsel.novelty.novelty import Typicality
from targetsel.rules.rules import Rules
from targetsel.scored.columns import check_names, scored_columns
from targetsel.scoring.rows import assemble, summarise
from targetsel.selection.membership import apply_rules
from targetsel.sky.catalog import Catalog
from targetsel.spectra.copula import Copula
from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.lines import PROXIES, UNITS, bpt_probabilities
from targetsel.spectra.proxies import Proxies
from targetsel.tables.columns import schema_of
from tests.selection.scored_by_hand import rule_text

BANDS = ("g", "r", "i", "z", "y")
N, S = 3, 400
REASON = np.array(["features", None, None], dtype=object)
TYPICAL = Typicality(
    *np.full((3, N), 0.5), REASON, np.full((N, 3), 0.1), np.array([True, False, False])
)


def drawn(**changes):
    """Proxies of three sources: 400 even draws of mean 10 and scatter 1 each, or as given."""
    even = np.linspace(-np.sqrt(3), np.sqrt(3), S)
    rng = np.random.default_rng(0)
    values = {name: np.stack([10 + rng.permutation(even) for _ in range(N)]) for name in PROXIES}
    return Proxies(np.arange(N), PROXIES, np.stack(list((values | changes).values()), axis=-1))


@pytest.fixture
def table():
    return table_of(drawn())


def table_of(proxies):
    """Three scored sources; the second has lost a band, and the third its cutout."""
    catalog = Catalog(
        pa.table({"source_id": [0, 1, 2], "ra": [1.0, 2.0, 3.0], "dec": [0.0] * 3}),
        {"source_id": "source_id", "ra": "ra", "dec": "dec"},
    )
    flux = np.tile(np.arange(16, dtype=np.float32).reshape(4, 4), (N, 5, 1, 1))
    flux[1, 2] = np.nan
    flux[2] = np.nan
    cutouts = Cutouts(np.arange(N), flux, BANDS, 0.25, np.array([True, True, False]))
    mean = np.stack([np.full((N, 2), -1.0), np.full((N, 2), 1.0)], axis=1)
    factor = np.broadcast_to(2 * np.eye(2), (N, 2, 2, 2))
    posterior = LatentPosterior(
        np.arange(N), mean, factor, np.full(N, 0.5), magnitude=np.full(N, 17.0)
    )
    joint = JointCalibration((), np.empty(0), Copula(PROXIES, np.zeros((1, 9, 20)), {}))
    return assemble(catalog, cutouts, posterior, summary_of(proxies), TYPICAL, joint)


def summary_of(proxies):
    found = ProxyDraws.of(proxies, PROXIES).posterior
    return summarise(found) | bpt_probabilities(proxies)


def test_columns_are_those_of_the_catalog_then_the_predicted_ones(table):
    names = table.column_names
    assert names[:8] == [
        "source_id", "ra", "dec", "_healpix_29", "latent_mean", "latent_cov", "member_mean",
        "member_cov",
    ]  # fmt: skip
    assert names[8:12] == ["ew_oii", "ew_oii_std", "ew_oii_q16", "ew_oii_q84"]
    assert names[-12:] == [
        "cutout_mag", "cutout_colour", "cutout_size", "epistemic", "typicality",
        "typicality_features", "typicality_image", "typicality_reason", "support",
        "masked_fraction", "unmeasured", "status",
    ]  # fmt: skip
    assert len(set(names)) == len(names) == 8 + 4 * len(PROXIES) + 2 * len(PROXIES) - 1 + 1 + 4 + 12
    assert {"ew_halpha", "ew_nii", "ew_sii", "d4000", "hdelta_a", "bpt_agn"} <= set(names)


def test_every_predicted_column_has_a_description_and_known_unit_and_ucd():
    for field in schema_of(scored_columns(6, 3)):
        metadata = {key.decode(): value.decode() for key, value in field.metadata.items()}
        assert metadata["description"], field.name
        units.Unit(metadata.get("unit", ""))
        if "ucd" in metadata:
            assert check_ucd(metadata["ucd"], check_controlled_vocabulary=True), field.name
        if field.name.startswith(("ew_", "hdelta_a")) and not field.name.endswith("_correlation"):
            assert metadata["unit"] == "Angstrom"
    assert UNITS["d4000"] == ""


def test_lists_are_as_long_as_the_latents_members_and_proxies_ask():
    sizes = {
        field.name: field.type.list_size
        for field in schema_of(scored_columns(6, 3))
        if pa.types.is_fixed_size_list(field.type)
    }
    expected = {"latent_mean": 6, "latent_cov": 21, "member_mean": 18, "member_cov": 63}
    expected |= {f"{name}_quantiles": 11 for name in PROXIES}
    expected |= {f"{name}_correlation": k for k, name in enumerate(PROXIES) if k}
    assert sizes == expected


def test_correlations_say_with_whom():
    (field,) = (
        each for each in schema_of(scored_columns(6, 3)) if each.name == "ew_oiii_correlation"
    )
    before = PROXIES[: PROXIES.index("ew_oiii")]
    assert len(before) > 1
    assert field.metadata[b"with"].decode() == ",".join(before)
    assert field.metadata[b"description"].decode().endswith(f"with those of {', '.join(before)}")


def test_covariance_says_that_it_is_of_a_skewed_posterior_and_where_regions_come_from():
    (field,) = (each for each in schema_of(scored_columns(6, 3)) if each.name == "latent_cov")
    about = field.metadata[b"description"].decode()
    for said in ("covariance of the posterior", "skewed", "ellipsoids of a Gaussian", "draws"):
        assert said in about
    assert "'targetsel priors write'" in about
    assert callable(stored_posterior)


def test_mixture_of_two_members_at_plus_and_minus_one_has_one_more_of_variance(table):
    assert table["latent_mean"][0].as_py() == [0.0, 0.0]
    # each member has variance 4; the means, both +1 or both -1, add 1 everywhere
    assert table["latent_cov"][0].as_py() == [5.0, 1.0, 5.0]
    assert table["member_mean"][0].as_py() == [-1.0, -1.0, 1.0, 1.0]
    assert table["member_cov"][0].as_py() == [4.0, 0.0, 4.0] * 2
    assert table["epistemic"][0].as_py() == 1.0


def test_median_scatter_and_interval_are_those_of_the_draws(table):
    # even draws between 10 +- sqrt(3): the 16th percentile lies at 10 - 0.6827 sqrt(3)
    assert table["d4000"][0].as_py() == pytest.approx(10, abs=0.01)
    assert table["d4000_std"][0].as_py() == pytest.approx(1, abs=0.01)
    assert table["d4000_q16"][0].as_py() == pytest.approx(10 - 0.6827 * 3**0.5, abs=0.02)
    assert table["d4000_q84"][0].as_py() == pytest.approx(10 + 0.6827 * 3**0.5, abs=0.02)


def test_row_without_a_good_cutout_is_null_and_says_why(table):
    assert table["status"].to_pylist() == ["ok", "lost band: i", "no cutout"]
    assert table["masked_fraction"].to_pylist() == [0.0, pytest.approx(0.2), None]
    assert table["copula_group"].to_pylist() == [0, -1, -1]
    for field in scored_columns(2, 2):
        if field.name in ("status", "masked_fraction", "unmeasured", "copula_group"):
            continue
        first, *others = table[field.name].to_pylist()
        assert first is not None, field.name
        if isinstance(first, list):
            others = [value for each in others for value in each]
            assert None not in first
        assert set(others) == {None}, field.name


def test_proxy_that_no_draw_can_measure_is_missing_and_spoils_no_other():
    values = np.full((N, S), np.nan)
    values[1:] = 3.0
    summary = summary_of(drawn(ew_oii=values))
    for end in ("", "_std", "_q16", "_q84"):
        assert np.isnan(summary[f"ew_oii{end}"]).tolist() == [True, False, False]
        assert np.isfinite(summary[f"d4000{end}"]).all()
    assert summary["ew_oii"][1] == 3.0
    assert summary["ew_oii_std"][1] == 0.0
    missing = [name for name in PROXIES if np.isnan(summary[f"{name}_quantiles"][0]).any()]
    assert missing == ["ew_oii"]


def test_row_names_the_proxies_that_could_not_be_measured_and_rules_take_them_as_missing(table):
    values = drawn()["ew_oii"].copy()
    values[:, : S // 10] = np.nan  # more than the 5 % that are left out
    nothing = np.full((N, S), np.nan)
    lacking = table_of(drawn(ew_oii=values, d4000=nothing))
    assert table["unmeasured"].to_pylist() == [None, None, None]
    assert lacking["unmeasured"].to_pylist() == ["ew_oii, d4000", None, None]
    assert lacking["status"][0].as_py() == "ok"
    for where, selects in (
        ("P(ew_oii > 5) >= 0", False),
        ("P(ew_oii < 5) < 1", False),
        ("not (ew_oii > 50)", False),
        ("P(d4000 > 1 or ew_halpha > 5) >= 0", False),
        ("P(ew_halpha > 5) > 0.9", True),
        ("bpt_weak >= 0", False),
        ("unmeasured is not missing", True),
    ):
        rules = Rules.parse(rule_text(where))
        assert apply_rules(rules, lacking).selected[:, 0].tolist() == [selects, False, False], where
        assert apply_rules(rules, table).selected[0, 0] == (where[:2] != "un"), where


def test_few_draws_that_cannot_be_measured_are_left_out():
    values = drawn()["ew_oii"].copy()
    values[0, :2] = np.nan
    summary = summary_of(drawn(ew_oii=values))
    assert summary["ew_oii"][0] == pytest.approx(10, abs=0.02)
    assert summary["ew_oii_std"][0] == pytest.approx(1, abs=0.02)


def test_catalog_with_a_name_that_scoring_writes_is_refused():
    check_names(pa.schema([("ra", pa.float64()), ("ew_halpha_sdss", pa.float32())]), "a.fits")
    with pytest.raises(
        CatalogError, match=r"a\.fits: has the column 'typicality', which score would"
    ):
        check_names(pa.schema([("typicality", pa.float64())]), "a.fits")
    many = pa.schema([(field.name, field.type) for field in scored_columns(6, 3)])
    with pytest.raises(CatalogError, match="is this a scored catalog already") as caught:
        check_names(many, "a.fits")
    assert len(str(caught.value)) < 200
