"""Calibrations that were damaged, or edited by hand."""

from __future__ import annotations

import json
import shutil

import pytest

from targetsel.calibration.calibration import FILE_NAME
from targetsel.errors import EnsembleError
from targetsel.scoring.ensemble import Ensemble, find_ensemble


@pytest.fixture
def folder(tmp_path):
    """The shipped ensemble."""
    shutil.copytree(find_ensemble("mock-ps1"), tmp_path / "mine")
    return tmp_path / "mine"


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("residual", "factor"), [[10**400]], "is not of numbers, or they are not in rows"),
        (("residual", "factor"), [[1.0], [0.0, 1.0]], "is not of numbers, or they are not in rows"),
        (("residual", "factor"), [[1.0]], "do not fit its proxies"),
        (("residual", "names"), ["d4000"] * 9, "do not fit its proxies"),
        (("latents", "deviations", "offset"), [10**400], "are not arrays of numbers"),
        (("latents", "deviations", "offset"), None, "deviations"),
        (("latents", "stretch", "centres"), [3.0, 2.0], "a curve has not the same numbers"),
        (("classes", "coefficients", "bpt_sf"), [1.0, 2.0], "a class has not 4 coefficients"),
        (("classes", "coefficients"), {"bpt_sf": [1, 2, 3, 4]}, "classes are bpt_sf, expected"),
        (("n_fitted",), "many", "n_fitted"),
        (("schema",), "targetsel/calibration/v3", "targetsel/calibration/v4"),
    ],
)
def test_a_calibration_that_is_not_whole_is_refused_in_one_line(folder, keys, value, message):
    place = folder / FILE_NAME
    tree = json.loads(place.read_text())
    node = tree
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    place.write_text(json.dumps(tree))
    with pytest.raises(EnsembleError, match=message) as caught:
        Ensemble.read(folder)
    assert str(caught.value).startswith(f"{place}: ")
    assert str(caught.value).endswith("Fit it again with 'targetsel calibrate', or remove it.")
    assert "\n" not in str(caught.value)
