"""What an observed catalog keeps of the spectrograph, to follow draws of redshift and width."""

import json

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import CatalogError
from targetsel.spectrographs.following import (
    CONTINUUM,
    NOTE,
    REDDENING,
    Following,
    stored_following,
)
from targetsel.spectrographs.lines import ObservedLine, chosen_lines
from targetsel.spectrographs.spectrograph import Exposure, Spectrograph
from tests.spectrographs.simple import simple

CENTRES = (4700.0, 6200.0, 7500.0)


def following(spectrograph):
    exposure = Exposure(spectrograph, 900.0, 7.0)
    return Following(exposure, chosen_lines(["halpha", "oii"]), CENTRES)


def schema(note):
    metadata = None if note is None else {NOTE: note}
    return pa.schema(
        [
            pa.field(CONTINUUM, pa.list_(pa.float32(), 3), metadata=metadata),
            (REDDENING, pa.float32()),
        ]
    )


@pytest.mark.parametrize("name", ["simple", "desi", "4most"])
def test_what_is_stored_gives_the_same_quantities(name, tmp_path):
    ours = following(simple(tmp_path) if name == "simple" else Spectrograph.find(name))
    read = stored_following(schema(ours.note))
    rng = np.random.default_rng(1)
    drawn = {"photoz": rng.uniform(0, 0.6, (4, 50))}
    drawn |= {line.proxy: rng.uniform(-5, 80, (4, 50)) for line in ours.lines}
    light = rng.uniform(1e3, 1e4, (4, 3)), np.array([0, 0.1, 0.2, 0])
    for quantity in ("lineflux", "snr", "exposure_time", "wavelength", "in_range", "clear_of_sky"):
        for line in ("halpha", "oii"):
            one, two = (e.values(f"{quantity}_{line}", drawn, *light) for e in (ours, read))
            np.testing.assert_array_equal(one, two)


def test_a_line_follows_from_the_redshift_and_its_own_width(tmp_path):
    ours = following(simple(tmp_path))
    assert ours.parents("snr_oii") == ("photoz", "ew_oii")
    assert ours.parents("clear_of_sky_oii") == ("photoz",)
    assert ours.drawn(["snr_oii", "in_range_halpha", "d4000"]) == {"photoz", "ew_oii", "d4000"}
    assert "snr_hbeta" not in ours
    assert "observed_ebv" not in ours


def test_the_signal_to_noise_ratio_is_that_of_the_line_at_each_redshift(tmp_path):
    ours = following(simple(tmp_path))
    drawn = {"photoz": np.array([[0.1, 0.2]]), "ew_halpha": np.array([[20.0, 30.0]])}
    found = ours.values("snr_halpha", drawn, np.array([[5e3, 5e3, 5e3]]), np.zeros(1))
    at = ours.lines[0].wavelength * (1 + drawn["photoz"])
    per_angstrom = 5e3 * 1e-32 * 2.99792458e18 / at**2
    line = ObservedLine(ours.lines[0], drawn["photoz"], per_angstrom)
    true = line.quantities(drawn["ew_halpha"], ours.exposure)["snr"]
    np.testing.assert_allclose(found, true, rtol=1e-12)


def test_a_catalog_without_the_columns_has_nothing_to_follow():
    assert stored_following(pa.schema([("photoz", pa.float32())])) is None


def test_a_note_that_another_program_lost_is_told():
    with pytest.raises(CatalogError, match="has lost what observe noted there"):
        stored_following(schema(None))


@pytest.mark.parametrize(
    "change",
    [
        {"spectrograph": "name: x"},
        {"time": "long"},
        {"time": None},
        {"snr": -1},
        {"lines": []},
        {"lines": [["ew_halpha"]]},
        {"lines": [["ew_halpha", [1]]]},
        {"centres": [2, 1]},
    ],
)
def test_a_damaged_note_is_refused_in_one_line(change, tmp_path):
    card = json.loads(following(simple(tmp_path)).note) | change
    with pytest.raises(CatalogError, match="its metadata describe no observation") as refusal:
        stored_following(schema(json.dumps(card)))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("note", ["", "no json", "[1]", "{}"])
def test_a_note_that_is_none_is_refused(note):
    with pytest.raises(CatalogError, match="its metadata describe no observation"):
        stored_following(schema(note))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (CONTINUUM, pa.string()),
        (CONTINUUM, pa.float32()),
        (CONTINUUM, pa.list_(pa.float32(), 2)),
        (CONTINUUM, pa.list_(pa.string(), 3)),
        (REDDENING, pa.string()),
    ],
)
def test_columns_of_another_kind_are_refused(column, kind, tmp_path):
    told = schema(following(simple(tmp_path)).note)
    k = told.get_field_index(column)
    changed = told.set(k, pa.field(column, kind, metadata=told.field(k).metadata))
    with pytest.raises(CatalogError, match=f"column '{column}': holds .*; expected"):
        stored_following(changed)
