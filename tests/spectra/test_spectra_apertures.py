"""Where the diameter of the fiber is stated that spectra were taken with."""

import pyarrow as pa
import pytest

from targetsel.errors import SpectrumError
from targetsel.spectra.apertures import aperture_in, of_other_light
from targetsel.spectra.reading import Attempt, stated_marks
from targetsel.tables.parquet import write_table


@pytest.mark.parametrize("footer", [{}, {"aperture": "3"}, {"aperture": 0.0}, {"mock": "sky"}])
def test_what_states_no_diameter_has_none(footer):
    assert aperture_in(footer) is None


def test_a_footer_states_its_own_diameter():
    assert aperture_in({"aperture": 1.5}) == 1.5
    assert aperture_in({"aperture": 2, "mock": {"variation": {"fiber": 1.5}}}) == 2.0


def test_results_state_a_diameter_only_if_all_spectra_are_of_it(tmp_path):
    def spectra(name, footer, result=1.0):
        write_table(pa.table({"x": [1]}), tmp_path / name, footer)
        return Attempt(tmp_path / name, 7, None, result)

    three, two = spectra("3.parquet", {"aperture": 3.0}), spectra("2.parquet", {"aperture": 2.0})
    unknown = spectra("some.parquet", {"images": "simulated"})
    failed = spectra("bad.parquet", {"aperture": 2.0}, SpectrumError("bad"))
    assert stated_marks([three, three, failed]) == {"aperture": 3.0}
    assert stated_marks([three, two]) == {}
    assert stated_marks([three, unknown]) == {"images": "simulated"}
    assert stated_marks([]) == {}


def test_truth_of_another_fiber_is_told_where_both_are_stated():
    two, three = {"aperture": 2.0}, {"aperture": 3.0}
    assert of_other_light(three, two) == (
        "true line strengths are of the light in a fiber of 2 arcsec, predicted ones of that in "
        "3 arcsec"
    )
    assert of_other_light(three, {"aperture": 3.01}) == ""
    assert of_other_light({}, two) == of_other_light(three, {}) == ""
