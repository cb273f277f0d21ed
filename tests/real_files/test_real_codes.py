"""Codes for unknown values, such as 99, -999 and 1e20, which surveys write among real ones."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import HandoffError, SpectrographError
from targetsel.handoff.prepare import checked
from targetsel.observing.observation import Observation
from targetsel.observing.redshift import Redshift, of_each
from targetsel.photometry.bands import Band
from targetsel.photometry.columns import CatalogPhotometry
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.scored.truth import Truth
from targetsel.selection.evaluation import all_hold
from targetsel.selection.sources import Sources
from targetsel.spectrographs.continuum import Magnitudes
from targetsel.spectrographs.spectrograph import Exposure, Spectrograph
from tests.handoff.lists_by_hand import target_list
from tests.real_files.conftest import one_line
from tests.selection.scored_by_hand import rule_text, scored_table

CODES = [99.0, -99.0, 999.0, -999.0, -9999.0, 1e20, -1e20, np.inf]


def chosen(where, values, unit, name="rmag"):
    n = len(values)
    table = scored_table([[20, 60, 1.5]] * n, [[1, 5, 0.1]] * n, columns={name: (values, unit)})
    conditions = plan(Rules.parse(rule_text(where)), table.schema).classes[0].conditions
    return all_hold([each.formula for each in conditions], Sources(table)).nonzero()[0].tolist()


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("rmag < 17", [1]),
        ("rmag > 17", [2]),
        ("not rmag < 17", [2]),
        ("rmag is missing", [0, 3]),
        ("rmag is not missing", [1, 2]),
        ("rmag != 16", [2]),
        ("abs(rmag) < 1e30", [1, 2]),
    ],
)
def test_a_code_among_magnitudes_is_missing_to_rules(kind, code, where, rows):
    values = pa.array([code, 16.0, 18.0, None], kind)
    assert chosen(where, values, "mag") == rows


@pytest.mark.parametrize(
    ("name", "unit", "rows"), [("rmag", "", [1]), ("mag_r", "", [1]), ("size", "", [0, 1])]
)
def test_without_a_unit_the_name_says_that_a_column_holds_magnitudes(name, unit, rows):
    assert chosen(f"{name} < 17", [-99.0, 16.0], unit, name) == rows


def test_whole_numbers_may_be_codes_too():
    assert chosen("rmag < 17", pa.array([-999, 16, 18], pa.int16()), "mag") == [1]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", ["mag_r_x", "flux_r_x"])
def test_a_code_among_magnitudes_is_no_flux(code, name):
    found = CatalogPhotometry.of(target_list(2, **{name: ([code, 22.5], "mag")}).table)
    for values, expected in (
        (found.flux(Band("r", "x")), 3630.780548),
        (found.magnitude(Band("r", "x")), 22.5),
    ):
        assert np.isnan(values[0])
        assert values[1] == pytest.approx(expected, rel=1e-6)


def test_an_error_of_99_mag_is_unknown():
    columns = {"mag_r_x": ([20.0, 20.0], "mag"), "mag_r_x_err": ([99.0, 0.1], "mag")}
    found = CatalogPhotometry.of(target_list(2, **columns).table)
    assert np.isnan(found.flux_error(Band("r", "x"))).tolist() == [True, False]


@pytest.mark.parametrize(("code", "unit"), [(1e20, "nJy"), (1e30, "nJy"), (1e20, "nanomaggy")])
def test_a_flux_beyond_all_sources_is_unknown(code, unit):
    found = CatalogPhotometry.of(target_list(2, flux_r_x=([code, 1.0], unit)).table)
    assert np.isnan(found.flux(Band("r", "x"))).tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("pmra", -9999.0, "up to 20000 mas/yr, or nothing"),
        ("pmdec", 999.0, "up to 20000 mas/yr, or nothing"),
        ("parallax", -999.0, "up to 1500 mas, or nothing"),
        ("parallax", 1e20, "up to 1500 mas, or nothing"),
    ],
)
def test_a_code_for_a_motion_moves_no_target(name, code, expected):
    targets = target_list(2, **{name: [code, None]})
    with one_line(HandoffError, f"{name} of 1 of 2 targets is impossible: that of target 101 is"):
        checked(targets)
    with one_line(HandoffError, expected):
        checked(targets)


def test_a_code_for_reddening_is_no_dust_of_that_much():
    table = pa.table({"ebv": [-999.0, 0.1]})
    assert np.isnan(of_each(table, "ebv", "--ebv", "mag")).tolist() == [True, False]


@pytest.mark.parametrize("value", [17.2, -2.5])
def test_a_magnitude_is_no_reddening(value):
    exposure = Exposure.asked(Spectrograph.find("desi"), None, 5.0)
    observation = Observation(exposure, (), Redshift(0.1), Magnitudes(()), reddening="rmag")
    with one_line(SpectrographError, f"column 'rmag' has {value} mag; expected E(B-V) from -1 to"):
        observation._reddening(pa.table({"rmag": [0.1, value, None]}))


@pytest.mark.parametrize("code", [-999.0, -9999.0, 1e20])
def test_a_code_among_measured_widths_is_no_truth(code):
    table = pa.table({"source_id": [1, 2], "ew_halpha": [code, 20.0]})
    proxies = Truth(Path("t"), table, np.array([1, 2]), ("ew_halpha",), 0).proxies
    assert np.isnan(proxies["ew_halpha"]).tolist() == [True, False]
