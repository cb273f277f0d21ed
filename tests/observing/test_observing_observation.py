import os
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from targetsel.errors import SpectrographError, VisibilityError
from targetsel.nights.visibility import COLUMNS, Visibility
from targetsel.observing.observation import Observation, write_observed
from targetsel.observing.redshift import Redshift
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.selection.evaluation import probability
from targetsel.selection.sources import Sources
from targetsel.spectrographs.continuum import Magnitudes
from targetsel.spectrographs.lines import ObservedLine, chosen_lines
from targetsel.spectrographs.spectrograph import Exposure
from targetsel.tables.parquet import ParquetSink, described, read_footer, write_table
from tests.selection.scored_by_hand import scored_table
from tests.spectrographs.simple import simple

MEDIANS, WIDTHS = [20.0, 40.0, 1.4], [5.0, 8.0, 0.1]
CORRELATION = (0.6, -0.3, -0.5)  # of (oiii, halpha), (oiii, d4000), (halpha, d4000)


def scored(tmp_path, redshift, **others):
    """N sources of magnitude 20 in r, of 1 arcsec, alike but for their redshifts."""
    n = len(redshift)
    columns = {
        "redshift": (pa.array(redshift, pa.float64()), ""),
        "rmag": (np.full(n, 20.0), "mag"),
        "size": (np.full(n, 1.0), "arcsec"),
        **others,
    }
    table = scored_table([MEDIANS] * n, [WIDTHS] * n, CORRELATION, columns=columns)
    path = tmp_path / "scored.parquet"
    pq.write_table(table, path)
    return path


def observation(tmp_path, path, redshift=Redshift(), **others):
    magnitudes = Magnitudes.find(pq.read_schema(path), ["r_sdss=rmag"], False, False)
    exposure = Exposure.asked(simple(tmp_path), None, 5.0)
    return Observation(
        exposure, chosen_lines(["halpha", "oiii"]), redshift, magnitudes, "size", **others
    )


def observed(tmp_path, path, *args, **others):
    output = tmp_path / "observed.parquet"
    write_observed(path, observation(tmp_path, path, *args, **others), output)
    return pq.read_table(output)


def with_aperture(path, aperture):
    write_table(pq.read_table(path), path, {"aperture": aperture})
    return path


@pytest.mark.parametrize("aperture", [2.0, 2.05, None, "wide"])
def test_no_caution_is_due_where_fibers_are_alike_or_one_is_not_known(aperture, tmp_path):
    path = with_aperture(scored(tmp_path, [0.1]), aperture)
    run = write_observed(path, observation(tmp_path, path), tmp_path / "observed.parquet")
    assert run.caution == ""


def test_strengths_of_another_fiber_than_the_spectrographs_are_told(tmp_path):
    path = with_aperture(scored(tmp_path, [0.1]), 3.0)
    run = write_observed(path, observation(tmp_path, path), tmp_path / "observed.parquet")
    assert run.caution == (
        "line strengths are of the light in a fiber of 3 arcsec, and count as the same in that of "
        "Simple, 2 arcsec; the continuum is of its own"
    )


def chance(table, condition):
    """P(condition) of each source, as rules find it."""
    formula = Binder(CatalogColumns(table.schema)).condition(parse(condition))
    return probability(formula, Sources(table.combine_chunks()))


def test_probability_of_a_ratio_is_that_of_the_width_it_needs(tmp_path):
    table = observed(tmp_path, scored(tmp_path, [0.1]))
    limit = float(table["snr_halpha"][0].as_py())  # of the median width, 40 Angstrom
    assert chance(table, f"snr_halpha > {limit!r}") == pytest.approx(0.5, abs=1e-3)
    # One standard deviation above, at 48 Angstrom.
    limit = float(table["snr_halpha_q84"][0].as_py())
    assert chance(table, f"snr_halpha > {limit!r}") == pytest.approx(0.1587, abs=1e-3)
    assert chance(table, f"snr_halpha > {limit!r} and ew_halpha < 48") == pytest.approx(0, abs=2e-3)
    assert chance(table, "ew_halpha > 48 and exposure_time_halpha > 1e6") == pytest.approx(0)


def test_joint_probability_of_two_lines_is_that_of_their_widths(tmp_path):
    table = observed(tmp_path, scored(tmp_path, [0.1]))
    halpha, oiii = (float(table[f"snr_{name}"][0].as_py()) for name in ("halpha", "oiii"))
    # Two normals of correlation 0.6: 1/4 + arcsin(0.6) / (2 pi).
    both = chance(table, f"snr_halpha > {halpha!r} and snr_oiii > {oiii!r}")
    assert both == pytest.approx(0.25 + np.arcsin(0.6) / (2 * np.pi), abs=2e-3)
    assert chance(table, f"snr_halpha > {halpha!r} and d4000 > 1.4") == pytest.approx(
        0.25 - np.arcsin(0.5) / (2 * np.pi), abs=2e-3
    )


def test_three_quantities_can_stand_in_one_probability(tmp_path):
    table = observed(tmp_path, scored(tmp_path, [0.1, 0.2]))
    likely = chance(table, "lineflux_halpha > 0 and snr_oiii > 0 and d4000 > 1.4")
    assert likely == pytest.approx([0.5, 0.5], abs=0.01)


@pytest.mark.parametrize("spread", [0.01, 0.05])
def test_joint_probabilities_at_an_uncertain_redshift_are_those_of_a_million_draws(
    tmp_path, spread
):
    path = scored(tmp_path, [0.15], dz=(np.array([spread]), ""))
    wanted = observation(tmp_path, path, Redshift(error="dz"))
    table = observed(tmp_path, path, Redshift(error="dz"))
    rng = np.random.default_rng(20261129)
    redshift = np.maximum(0.15 + spread * rng.standard_normal((1, 1_000_000)), 0.0)
    covariance = np.outer(WIDTHS[:2], WIDTHS[:2]) * [[1, 0.6], [0.6, 1]]
    oiii, halpha = rng.multivariate_normal(MEDIANS[:2], covariance, 1_000_000).T
    piece = pq.read_table(path)
    drawn = {"ew_halpha": halpha, "ew_oiii": oiii}
    for line in wanted.lines:
        at = line.wavelength * (1 + redshift)
        flux = wanted.magnitudes.continuum(wanted.magnitudes.flux(piece), at, np.zeros(1))
        seen = ObservedLine(line, redshift, flux * wanted._share(piece)[0])
        found = seen.quantities(drawn[line.proxy][None], wanted.exposure)
        drawn |= {f"{quantity}_{line.name}": values[0] for quantity, values in found.items()}
    for one, two in (
        ("snr_halpha", "snr_oiii"),
        ("snr_halpha", "ew_oiii"),
        ("snr_halpha", "ew_halpha"),
        ("lineflux_oiii", "snr_halpha"),
        ("lineflux_halpha", "lineflux_oiii"),
    ):
        for first, second in ((0.5, 0.5), (0.16, 0.84), (0.3, 0.2)):
            a, b = (float(np.quantile(drawn[n], q)) for n, q in ((one, first), (two, second)))
            above, beyond = drawn[one] > a, drawn[two] > b
            for text, true in (
                (f"{one} > {a!r}", above),
                (f"{one} > {a!r} and {two} > {b!r}", above & beyond),
                (f"{one} > {a!r} or {two} > {b!r}", above | beyond),
                (f"{one} > {a!r} and not {two} > {b!r}", above & ~beyond),
            ):
                assert chance(table, text) == pytest.approx(true.mean(), abs=0.005), text


def test_certain_redshift_and_one_with_a_tiny_error_agree(tmp_path):
    path = scored(tmp_path, [0.1], dz=(np.array([1e-6]), ""))
    certain = observed(tmp_path, path)
    nearly = observed(tmp_path, path, Redshift(error="dz"))
    for name in ("lineflux_halpha", "snr_oiii", "exposure_time_oiii", "snr_oiii_q84"):
        assert nearly[name][0].as_py() == pytest.approx(certain[name][0].as_py(), rel=0.01)
    rho = "exposure_time_oiii_correlation"
    assert nearly[rho][0].as_py() == pytest.approx(certain[rho][0].as_py(), abs=0.01)


def test_redshift_that_may_leave_the_range_lowers_the_chance(tmp_path):
    # Halpha leaves 9000 Angstrom at redshift 0.37098, the mean of the first redshift.
    path = scored(tmp_path, [0.37098, 0.1, 0.6], dz=(np.full(3, 0.05), ""))
    table = observed(tmp_path, path, Redshift(error="dz"))
    assert table["in_range_halpha"].to_pylist() == pytest.approx([0.5, 1, 0], abs=0.01)
    assert table["in_range_oiii"].to_pylist() == [1, 1, 1]
    likely = chance(table, "snr_halpha > 0.1")
    assert likely[1:] == pytest.approx([1, 0])
    # One half, but quantiles half a standard deviation apart blur the jump: 0.31 to 0.69.
    assert 0.308 <= likely[0] <= 0.692


def test_density_and_error_of_the_same_redshift_agree(tmp_path):
    grid = np.linspace(0, 1, 401)
    density = np.exp(-0.5 * ((grid - 0.3) / 0.05) ** 2)
    pz = pa.array([density.tolist()], pa.list_(pa.float64(), 401))
    path = scored(tmp_path, [0.3], dz=(np.array([0.05]), ""), pz=(pz, ""))
    by_error = observed(tmp_path, path, Redshift(error="dz"))
    by_density = observed(tmp_path, path, Redshift("pz", grid=(0.0, 1.0)))
    for name in ("lineflux_halpha", "snr_halpha", "snr_halpha_q16", "wavelength_halpha"):
        assert by_density[name][0].as_py() == pytest.approx(by_error[name][0].as_py(), rel=0.01)


def test_source_in_trouble_keeps_its_row_and_says_why(tmp_path):
    path = scored(
        tmp_path,
        [0.1, None, -0.5, 50.0, 0.1, 0.1, 0.1],
        rmag=(np.array([20, 20, 20, 20, np.nan, 20, 20]), "mag"),
        size=(np.array([1, 1, 1, 1, 1, -1, 1.0]), "arcsec"),
        ebv=(np.array([0, 0, 0, 0, 0, 0, np.nan]), "mag"),
    )
    table = observed(tmp_path, path, reddening="ebv")
    assert table["observed_status"].to_pylist() == [
        "ok", "no redshift", "negative redshift", "redshift beyond 10", "no magnitude", "no size",
        "no E(B-V)",
    ]  # fmt: skip
    assert [each is None for each in table["snr_halpha"].to_pylist()] == [False] + 6 * [True]
    assert np.isnan(chance(table, "snr_halpha > 1")[1:]).all()
    assert table["wavelength_halpha"][4].as_py() == pytest.approx(6564.61 * 1.1)


def test_source_without_prediction_says_so(tmp_path):
    table = scored_table(
        [MEDIANS, [np.nan] * 3], [WIDTHS] * 2,
        columns={"redshift": (np.full(2, 0.1), ""), "rmag": (np.full(2, 20.0), "mag"),
                 "size": (np.ones(2), "arcsec")},
    )  # fmt: skip
    path = tmp_path / "scored.parquet"
    pq.write_table(table, path)
    assert observed(tmp_path, path)["observed_status"].to_pylist() == ["ok", "no prediction"]


def test_order_of_rows_changes_no_number(tmp_path):
    redshifts = np.linspace(0.05, 0.4, 520)  # more than are read at once
    spread = (np.full(520, 0.02), "")
    table = observed(tmp_path, scored(tmp_path, redshifts, dz=spread), Redshift(error="dz"))
    turned = observed(tmp_path, scored(tmp_path, redshifts[::-1], dz=spread), Redshift(error="dz"))
    for name in ("snr_halpha_quantiles", "exposure_time_oiii_correlation", "in_range_halpha"):
        assert table[name].to_pylist() == turned[name].to_pylist()[::-1]


def test_killed_run_leaves_nothing_and_the_next_one_writes_the_same(tmp_path, monkeypatch):
    path = scored(tmp_path, np.linspace(0.05, 0.4, 520), dz=(np.full(520, 0.02), ""))
    wanted = observation(tmp_path, path, Redshift(error="dz"))
    output = tmp_path / "observed.parquet"
    write_observed(path, wanted, tmp_path / "whole.parquet")
    process = os.fork()
    if process == 0:  # dies between the first and the second piece
        writes = iter((lambda *_: None, lambda *_: os.kill(os.getpid(), signal.SIGKILL)))
        monkeypatch.setattr(ParquetSink, "write", lambda sink, piece: next(writes)(sink, piece))
        write_observed(path, wanted, output)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL
    assert not output.exists()
    write_observed(path, wanted, output)
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {"scored.parquet", "simple.yaml", "whole.parquet", "observed.parquet"}


def test_columns_carry_units_and_the_footer_says_what_was_asked(tmp_path):
    table = observed(tmp_path, scored(tmp_path, [0.1]))
    read = Table.read(tmp_path / "observed.parquet", format="parquet.votable")
    assert str(read["lineflux_halpha"].unit) == "erg / (s cm2)"
    assert str(read["exposure_time_halpha"].unit) == "s"
    assert "1000 s" in read["snr_halpha"].description
    asked = read_footer(tmp_path / "observed.parquet")["observed"]
    assert (asked["spectrograph"], asked["time"], asked["snr"]) == ("Simple", 1000.0, 5.0)
    assert table.schema.field("snr_halpha_quantiles").metadata[b"normal_scores"]


def test_what_cannot_be_observed_is_refused_before_anything_is_written(tmp_path):
    path = scored(tmp_path, [0.1])
    output = tmp_path / "observed.parquet"
    for wrong, message in (
        ({"reddening": "evb"}, "no column 'evb' (--ebv)."),
        ({"reddening": "size"}, "observe, column 'size': is in 'arcsec'; expected 'mag'."),
        ({"redshift": Redshift("zz")}, "no column 'zz' (--redshift)."),
    ):
        with pytest.raises(SpectrographError) as refused:
            write_observed(path, observation(tmp_path, path, **wrong), output)
        assert str(refused.value).startswith(f"{path}: {message}")
    write_observed(path, observation(tmp_path, path), output)
    with pytest.raises(SpectrographError, match="already has a column 'wavelength_halpha'"):
        write_observed(output, observation(tmp_path, output), tmp_path / "twice.parquet")
    assert not (tmp_path / "twice.parquet").exists()


def test_line_that_was_not_scored_is_refused(tmp_path):
    table = pa.table(
        [pa.array([1]), [1.0], [1.0], [1], [0.1], pa.array([20.0])],
        schema=pa.schema(
            [("source_id", pa.int64()), ("ra", pa.float64()), ("dec", pa.float64()),
             ("_healpix_29", pa.int64()), ("redshift", pa.float64()),
             described("rmag", pa.float64(), "mag")]
        ),
    )  # fmt: skip
    path = tmp_path / "bare.parquet"
    write_table(table, path)
    wanted = observation(tmp_path, path)
    with pytest.raises(SpectrographError, match="no column 'size'"):
        write_observed(path, wanted, tmp_path / "o.parquet")
    path = scored(tmp_path, [0.1])
    table = pq.read_table(path).drop_columns(["ew_oiii_quantiles"])
    pq.write_table(table, path)
    with pytest.raises(SpectrographError, match="no posterior of 'ew_oiii' in this file"):
        write_observed(path, wanted, tmp_path / "o.parquet")


def test_a_site_and_a_night_add_the_columns_of_visibility_behind_the_others(tmp_path):
    path = scored(tmp_path, [0.1, 0.2])
    without = observed(tmp_path, path)
    asked = Visibility.of("KPNO", "2027-03-14")
    found = observed(tmp_path, path, visibility=asked)
    names = [each.name for each in COLUMNS]
    assert found.column_names == [*without.column_names, *names]
    assert found.select(without.column_names).equals(without)
    position = (found[name].to_numpy() for name in ("ra", "dec"))
    assert found.select(names).equals(asked.columns(*position))
    assert read_footer(tmp_path / "observed.parquet")["observed"]["visibility"]["site"] == "KPNO"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"site": "KPNO"}, "--site is given without --night"),
        ({"night": "2027-03-14"}, "--night is given without --site"),
        ({"night": ["2027-03-14"]}, "--night is given without --site"),
        ({"airmass": 1.5}, "--airmass is given without --site and --night"),
        ({"twilight": "civil"}, "--twilight is given without --site and --night"),
        ({"site": "KPN", "night": "2027-03-14"}, "unknown site 'KPN'"),
    ],
)
def test_half_of_a_site_and_a_night_is_refused(tmp_path, words, message):
    path = scored(tmp_path, [0.1])
    with pytest.raises(VisibilityError, match=message):
        Observation.of(path, 1.0, **words)
