"""Observations at redshifts that the ensemble predicts beside the lines."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import ndtri

from targetsel.errors import RuleError, SpectrographError
from targetsel.observing.observation import Observation, provenance_of, write_observed
from targetsel.observing.redshift import Redshift
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.selection.evaluation import holds, probability
from targetsel.selection.sources import Sources, columns_read
from targetsel.spectra.proxies import NORMAL_SCORES
from targetsel.spectrographs.lines import ObservedLine
from tests.observing.test_observing_observation import (
    CORRELATION,
    MEDIANS,
    WIDTHS,
    chance,
    observation,
    observed,
    scored,
)

MEDIAN, SPREAD = 0.15, 0.04
WITH = (-0.3, 0.2, 0.1)  # correlations of photoz with oiii, halpha and d4000
PREDICTED = Redshift("photoz", predicted=True)


def predicted(tmp_path, medians=(MEDIAN,), known=True):
    """Sources of `scored` with a predicted redshift in place of the catalog's."""
    path = scored(tmp_path, [0.5] * len(medians))
    table = pq.read_table(path).drop_columns(["redshift"])
    quantiles = [(z + SPREAD * NORMAL_SCORES).tolist() if known else None for z in medians]
    table = table.append_column("photoz", pa.array(medians, pa.float32()))
    table = table.append_column(
        pa.field("photoz_quantiles", pa.list_(pa.float32(), 11)),
        pa.array(quantiles, pa.list_(pa.float32(), 11)),
    )
    rho = pa.array([list(WITH) if known else None] * len(medians), pa.list_(pa.float32(), 3))
    table = table.append_column(
        pa.field("photoz_correlation", rho.type, metadata={"with": "ew_oiii,ew_halpha,d4000"}),
        rho,
    )
    pq.write_table(table, path)
    return path


def of(path, **words):
    return Observation.of(path, 1.0, brightness=["r_sdss=rmag"], **words).redshift


def test_the_catalogs_redshift_comes_first_and_then_the_predicted_one(tmp_path):
    path = predicted(tmp_path)
    assert of(path) == PREDICTED
    table = pq.read_table(path).append_column("redshift", pa.array([0.1]))
    pq.write_table(table, path)
    assert of(path) == Redshift("redshift")
    assert of(path, redshift="photoz") == PREDICTED


def test_an_error_that_is_given_takes_the_place_of_the_posterior(tmp_path):
    path = predicted(tmp_path)
    assert of(path, redshift_error="0.02") == Redshift("photoz", 0.02)
    assert of(path, redshift_error="0").is_certain


def test_a_photoz_of_the_catalogs_own_is_no_prediction(tmp_path):
    path = scored(tmp_path, [0.1])
    table = pq.read_table(path).rename_columns({"redshift": "photoz"})
    pq.write_table(table, path)
    assert of(path, redshift="photoz") == Redshift("photoz")
    with pytest.raises(SpectrographError, match=r"no column 'redshift'"):
        write_observed(path, observation(tmp_path, path, of(path)), tmp_path / "out.parquet")


def test_joint_probabilities_at_a_predicted_redshift_are_those_of_a_million_draws(tmp_path):
    path = predicted(tmp_path)
    wanted, table = observation(tmp_path, path, PREDICTED), observed(tmp_path, path, PREDICTED)
    rho = np.eye(3)
    rho[0, 1] = rho[1, 0] = CORRELATION[0]
    rho[2, :2] = rho[:2, 2] = WITH[:2]
    scale = np.array([*WIDTHS[:2], SPREAD])
    rng = np.random.default_rng(20261129)
    middle, n = [*MEDIANS[:2], MEDIAN], 1_000_000
    oiii, halpha, z = rng.multivariate_normal(middle, np.outer(scale, scale) * rho, n).T
    z = np.maximum(z, 0)
    piece, drawn = pq.read_table(path), {"ew_halpha": halpha, "ew_oiii": oiii, "photoz": z}
    for line in wanted.lines:
        at = line.wavelength * (1 + z[None])
        flux = wanted.magnitudes.continuum(wanted.magnitudes.flux(piece), at, np.zeros(1))
        seen = ObservedLine(line, z[None], flux * wanted._share(piece)[0])
        found = seen.quantities(drawn[line.proxy][None], wanted.exposure)
        drawn |= {f"{quantity}_{line.name}": values[0] for quantity, values in found.items()}
    for one, two in (
        ("snr_halpha", "photoz"),
        ("lineflux_oiii", "photoz"),
        ("snr_halpha", "snr_oiii"),
        ("snr_halpha", "ew_oiii"),
        ("lineflux_halpha", "lineflux_oiii"),
    ):
        for first, second in ((0.5, 0.5), (0.16, 0.84), (0.3, 0.2)):
            a, b = (float(np.quantile(drawn[n], q)) for n, q in ((one, first), (two, second)))
            true = ((drawn[one] > a) & (drawn[two] > b)).mean()
            text = f"{one} > {a!r} and {two} > {b!r}"
            assert chance(table, text) == pytest.approx(true, abs=0.006), text


JUMPS = (
    ("in_range_halpha == 1 and ew_halpha > 40", lambda d: (d["in_range"] == 1) & (d["w"] > 40)),
    ("in_range_halpha < 0.5", lambda d: d["in_range"] == 0),
    ("snr_halpha > 0", lambda d: d["snr"] > 0),
    ("snr_halpha <= 0 or ew_halpha > 45", lambda d: (d["snr"] <= 0) | (d["w"] > 45)),
    ("0.1 < photoz < 0.35 and snr_halpha > 7", lambda d: (d["z"] > 0.1) & (d["z"] < 0.35)
     & (d["snr"] > 7)),
    ("clear_of_sky_halpha == 1 and snr_halpha > 5", lambda d: (d["clear"] == 1) & (d["snr"] > 5)),
    ("clear_of_sky_halpha == 1 or ew_halpha > 45", lambda d: (d["clear"] == 1) | (d["w"] > 45)),
    ("clear_of_sky_halpha is missing", lambda d: np.isnan(d["clear"])),
    ("not clear_of_sky_halpha == 1", lambda d: d["clear"] == 0),
    ("8000 < wavelength_halpha < 8500 and lineflux_halpha > 1e-16", lambda d: (d["at"] > 8000)
     & (d["at"] < 8500) & (d["flux"] > 1e-16)),
    ("exposure_time_halpha < 2000 and photoz > 0.2", lambda d: (d["time"] < 2000) & (d["z"] > 0.2)),
    ("snr_halpha / ew_halpha > 0.2", lambda d: d["snr"] / d["w"] > 0.2),
)  # fmt: skip


def follow(wanted, path, z, width):
    """What a draw has of Halpha, by brute force."""
    piece, line = pq.read_table(path).slice(0, 1), wanted.lines[0]
    at = line.wavelength * (1 + z[None])
    flux = wanted.magnitudes.continuum(wanted.magnitudes.flux(piece), at, np.zeros(1))
    seen = ObservedLine(line, z[None], flux * wanted._share(piece)[0])
    found = seen.quantities(width[None], wanted.exposure)
    return {
        "z": z,
        "w": width,
        "at": at[0],
        "in_range": seen.in_range(wanted.exposure.spectrograph)[0],
        "clear": seen.clear_of_sky(wanted.exposure.spectrograph)[0],
        "snr": found["snr"][0],
        "flux": found["lineflux"][0],
        "time": found["exposure_time"][0],
    }


@pytest.mark.parametrize("median", [0.15, 0.35, 0.4])
def test_draws_of_the_redshift_are_followed_to_range_and_sky_lines(median, tmp_path):
    path = predicted(tmp_path, (median,))
    wanted, table = observation(tmp_path, path, PREDICTED), observed(tmp_path, path, PREDICTED)
    # All points of a grid are equally probable.
    scores = ndtri((np.arange(2048) + 0.5) / 2048)
    first, rest = np.repeat(scores, 256), np.tile(ndtri((np.arange(256) + 0.5) / 256), 2048)
    width = MEDIANS[1] + WIDTHS[1] * (WITH[1] * first + np.sqrt(1 - WITH[1] ** 2) * rest)
    drawn = follow(wanted, path, np.maximum(median + SPREAD * first, 0), width)
    for text, obeys in JUMPS:
        likely = within_p(table, text)[0]
        assert likely == pytest.approx(obeys(drawn).mean(), abs=0.006), text
        for limit in (0.05, 0.5, 0.8, 0.95):
            rule = Binder(CatalogColumns(table.schema)).condition(parse(f"P({text}) >= {limit}"))
            assert holds(rule, Sources(table))[0] == (likely >= limit), text


def within_p(table, text):
    """The probability of a condition as it is meant within P."""
    rule = Binder(CatalogColumns(table.schema)).condition(parse(f"P({text}) >= 0.5"))
    return probability(rule.left.condition, Sources(table.combine_chunks()))


def test_the_column_in_range_is_the_probability_of_being_in_range(tmp_path):
    table = observed(tmp_path, predicted(tmp_path, (0.15, 0.33, 0.4, 0.9)), PREDICTED)
    likely = within_p(table, "in_range_halpha == 1")
    assert likely == pytest.approx(table["in_range_halpha"].to_numpy(), abs=2e-3)
    assert 0.1 < likely[1] < 0.9


def test_a_probability_depends_on_its_own_source_alone(tmp_path):
    medians = (0.15, 0.33, 0.4, 0.2)
    table = observed(tmp_path, predicted(tmp_path, medians), PREDICTED)
    text = "0.1 < photoz < 0.4 and snr_halpha > 5 and clear_of_sky_halpha == 1"
    whole = within_p(table, text)
    for rows in ([3, 2, 1, 0], [1], [2, 2, 0]):
        assert within_p(table.take(rows), text).tolist() == whole[rows].tolist()


def test_outside_p_places_of_lines_are_the_numbers_of_the_catalog(tmp_path):
    table = observed(tmp_path, predicted(tmp_path, (0.15, 0.33, 0.9)), PREDICTED)
    rule = Binder(CatalogColumns(table.schema)).condition(parse("in_range_halpha > 0.99"))
    assert holds(rule, Sources(table.combine_chunks())).tolist() == [True, False, False]


def test_a_source_without_a_magnitude_has_no_probability_of_a_ratio_but_one_of_range(tmp_path):
    path = predicted(tmp_path, (0.15, 0.15))
    table = pq.read_table(path)
    k = table.column_names.index("rmag")
    pq.write_table(table.set_column(k, table.field(k), pa.array([20.0, None])), path)
    table = observed(tmp_path, path, PREDICTED)
    assert np.isnan(within_p(table, "snr_halpha > 1")).tolist() == [False, True]
    assert within_p(table, "in_range_halpha == 1 and photoz > 0")[1] == pytest.approx(1, abs=1e-3)


def test_a_catalog_that_lost_its_note_of_the_spectrograph_is_refused_within_p(tmp_path):
    table = observed(tmp_path, predicted(tmp_path), PREDICTED)
    bare = table.cast(pa.schema([each.with_metadata(
        {k: v for k, v in (each.metadata or {}).items() if k != b"follows"}
    ) for each in table.schema]))  # fmt: skip
    columns = CatalogColumns(bare.schema)
    with pytest.raises(RuleError, match="has lost what observe noted there"):
        Binder(columns).condition(parse("P(snr_halpha > 7 and photoz < 0.3) >= 0.8"))
    Binder(columns).condition(parse("P(photoz < 0.3) >= 0.8"))
    Binder(columns).condition(parse("snr_halpha > 7"))


@pytest.mark.parametrize("lost", [["observed_continuum"], ["observed_ebv"], None])
def test_a_catalog_without_the_continuum_is_refused_within_p(lost, tmp_path):
    table = observed(tmp_path, predicted(tmp_path), PREDICTED)
    table = table.drop_columns(lost or ["observed_continuum", "observed_ebv"])
    columns = CatalogColumns(table.schema)
    for text in ("clear_of_sky_halpha == 1 and photoz < 0.3", "snr_halpha > 7"):
        with pytest.raises(RuleError, match=r"which observe wrote and P\(\) needs, is missing"):
            Binder(columns).condition(parse(f"P({text}) >= 0.8"))
    text = "P(photoz < 0.3 and ew_halpha > 5) >= 0.8 and in_range_halpha > 0.9"
    rule = Binder(columns).condition(parse(text))
    some = table.select(sorted(columns_read(rule, table.schema)))
    assert holds(rule, Sources(some.combine_chunks())).tolist() == [True]


def test_a_catalog_of_before_has_the_joint_probabilities_of_its_correlations(tmp_path):
    table = observed(tmp_path, predicted(tmp_path), PREDICTED)
    text = "0.1 < photoz < 0.2 and snr_halpha > 5"
    before = table.drop_columns(["observed_continuum", "observed_ebv"])
    rough = within_p(before.replace_schema_metadata(None), text)
    assert rough == pytest.approx(within_p(table, text), abs=0.05)


def test_all_columns_that_p_needs_are_read(tmp_path):
    table = observed(tmp_path, predicted(tmp_path), PREDICTED)
    rule = Binder(CatalogColumns(table.schema)).condition(
        parse("P(snr_halpha > 5 and in_range_oiii == 1 and d4000 > 1) >= 0.8")
    )
    some = table.select(sorted(columns_read(rule, table.schema)))
    assert "member_mean" not in some.column_names
    inner = rule.left.condition
    assert probability(inner, Sources(some)) == probability(inner, Sources(table))


def test_the_wavelength_is_that_at_the_median_of_the_prediction(tmp_path):
    table = observed(tmp_path, predicted(tmp_path, (0.1, 0.3)), PREDICTED)
    ratio = table["wavelength_halpha"][1].as_py() / table["wavelength_halpha"][0].as_py()
    assert ratio == pytest.approx(1.3 / 1.1, rel=1e-3)


def test_a_source_depends_on_itself_alone_at_predicted_redshifts(tmp_path):
    both = observed(tmp_path, predicted(tmp_path, (0.1, 0.3)), PREDICTED)
    alone = observed(tmp_path, predicted(tmp_path, (0.1,)), PREDICTED)
    added = [name for name in both.column_names if "halpha" in name and "ew" not in name]
    assert both.select(added).slice(0, 1).equals(alone.select(added))


def test_a_source_without_a_predicted_redshift_has_no_prediction(tmp_path):
    table = observed(tmp_path, predicted(tmp_path, known=False), PREDICTED)
    assert table["observed_status"].to_pylist() == ["no prediction"]
    assert table["snr_halpha"].to_pylist() == [None]


def test_the_footer_says_that_the_redshift_is_the_predicted_one(tmp_path):
    told = provenance_of(observation(tmp_path, predicted(tmp_path), PREDICTED))
    assert told["redshift"] == ["photoz", "photoz_quantiles", None]
