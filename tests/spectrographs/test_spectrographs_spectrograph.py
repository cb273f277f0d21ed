import re

import numpy as np
import pytest

from targetsel.documents.models import parse_quantity
from targetsel.errors import SpectrographError
from targetsel.spectrographs.spectrograph import PHOTON, SHIPPED, Spectrograph
from tests.spectrographs.simple import SIMPLE, simple


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_spectrographs_say_that_they_are_approximate(name):
    found = Spectrograph.find(name)
    assert "approximate" in found.name
    assert "memory" in found.source
    assert all(arm.end > arm.start for arm in found.arms)
    assert found.arms[0].start < 4000 < 9000 < found.arms[-1].end


def test_pfs_detects_more_photons_than_desi_where_both_look():
    at = np.array([8000.0])
    counts = {}
    for name in ("pfs", "desi"):
        found = Spectrograph.find(name)
        arm = next(arm for arm in found.arms if arm.start < 8000 < arm.end)
        counts[name] = float(found.area * 1e4 * arm.throughput(at)[0] * 8000 / PHOTON)
    assert counts["pfs"] > 3 * counts["desi"]


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("900", "s", 900), ("900s", "s", 900), ("15 min", "s", 900), ("0.5 h", "s", 1800),
     ("1e3s", "s", 1000), ("2 arcmin", "arcsec", 120), ("85000 cm2", "m2", 8.5), ("4", "", 4),
     ("5 Å", "nm", 0.5), ("5 \u212b", "Angstrom", 5), ("5A\u030a", "Angstrom", 5),
     ("2 µm", "nm", 2000), ("2 \u03bcm", "um", 2)],
)  # fmt: skip
def test_numbers_may_carry_their_unit(text, unit, value):
    assert parse_quantity(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(("text", "seconds"), [("15min", 900), ("900 s", 900), ("1e3s", 1000)])
def test_a_time_that_must_carry_its_unit_may_be_in_any(text, seconds):
    assert parse_quantity(text, "s", bare=False) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["15", "15.", "1e3", " 900 "])
def test_a_bare_number_is_no_time_where_the_unit_must_stand(text):
    with pytest.raises(ValueError, match=re.escape(f"'{text}', expected a number and its unit")):
        parse_quantity(text, "s", bare=False)


@pytest.mark.parametrize("text", ["", "long", "900 m", "nan", "inf", "1 2", "15 parsec"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(f"'{text}', expected a number of s")):
        parse_quantity(text, "s")


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("aperture", "apertur", 4, "unknown key 'apertur' in the file. Did you mean 'aperture'?"),
        ("area: 1 m2\n", "", 1, "missing key 'area' in the file: collecting area of the telescope"),
        ("2 arcsec", "2 kg", 4, "aperture is '2 kg'; expected 0.1 to 60 arcsec: diameter of a fib"),
        ("2 arcsec", "200 arcsec", 4, "aperture is '200 arcsec'; expected 0.1 to 60 arcsec: dia"),
        ("2 arcsec", "nan", 4, "aperture is 'nan'; expected 0.1 to 60 arcsec"),
        (
            "[4000, 22.5]",
            "[4000, 2]",
            9,
            "sky is '2'; expected [[wavelength, value], ...]",
        ),
        ("[4000, 22.5]", "4000", 9, "sky is '4000'; expected [[wavelength, value], ...]"),
        (
            "[[4000, 22.5], [9000, 22.5]]",
            "22.5",
            9,
            "sky is '22.5'; expected [[wavelength, value]",
        ),
        ("[4000, 0.5]", "[9500, 0.5]", 13, "the points go from 9500 to 9000 Angstrom; expected"),
        ("[[4000, 0.5], [9000, 0.5]]", "[]", 13, "the list of points is empty; expected one"),
        ("[4000, 0.5]", "[4000, .nan]", 13, "throughput is '.nan'; expected [[wavelength"),
        ("[4000, 0.5], [9000, 0.5]", "[4000, 0]", 13, "throughput is 0 within the arm's range;"),
        ("[4000, 9000]\n", "[9000, 4000]\n", 12, "range goes from 9000 to 4000; expected two wave"),
        ("[4000, 9000]\n", "[4000]\n", 12, "range is a list; expected two increasing wavelengths"),
        (
            "read_noise: 3 electron",
            "read_noise: 3 m",
            17,
            "read_noise is '3 m'; expected 0 to 1000",
        ),
        (SIMPLE[SIMPLE.index("arms:") :], "arms: []", 10, "arms is empty; expected one item for"),
        ("/v1", "/v9", 1, "unknown schema 'targetsel/spectrograph/v9'; this version reads target"),
        ("source: made up", "source: ", 3, "source is empty; expected a piece of text"),
    ],
)
def test_file_that_means_nothing_is_refused_with_its_line(tmp_path, old, new, line, message):
    with pytest.raises(SpectrographError) as refused:
        simple(tmp_path, SIMPLE.replace(old, new, 1))
    place = f"{tmp_path / 'simple.yaml'}:{line}:"
    assert str(refused.value).startswith(place)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unknown_spectrograph_is_refused_with_the_nearest():
    with pytest.raises(SpectrographError) as refused:
        Spectrograph.find("dessi")
    assert str(refused.value).startswith("dessi: no such spectrograph or file. Did you")
    assert "'desi'" in str(refused.value)


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(SpectrographError, match="could not be read: "):
        Spectrograph.find(str(tmp_path))
