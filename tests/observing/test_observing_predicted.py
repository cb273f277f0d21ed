"""Observations at redshifts that the ensemble predicts beside the lines."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import SpectrographError
from targetsel.observing.observation import Observation, provenance_of, write_observed
from targetsel.observing.redshift import Redshift
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
