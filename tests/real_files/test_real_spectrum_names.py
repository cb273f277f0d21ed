"""Names of spectra as catalogs of others write them."""

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import SpectrumError
from targetsel.surveys.desi import SparclSpectra
from targetsel.surveys.http import Web
from targetsel.surveys.sdss import SdssSpectra
from targetsel.surveys.spectra import wanted_in
from tests.real_files.conftest import one_line

TARGET = 39627796094813205  # which a double would round


@pytest.mark.parametrize(
    "plate",
    [
        pa.array([266.0]),
        pa.array(["0266"]),
        pa.array([b"266 "]),
        pa.array(["266"]).dictionary_encode(),
        pa.array([266], pa.uint16()),
    ],
    ids=["floats", "text", "bytes", "dictionary", "short"],
)
def test_plate_is_266_however_the_column_holds_it(plate):
    table = pa.table({"plate": plate, "mjd": [51602.0], "fiber": [7], "run2d": [b"26  "]})
    (wanted,) = wanted_in(table, SdssSpectra(Web()), "t")
    assert wanted.names == {"plate": 266, "mjd": 51602, "fiber": 7, "run2d": "26"}
    assert wanted.source_id == "266-51602-7-26"


@pytest.mark.parametrize("target", [pa.array([str(TARGET)]), pa.array([TARGET])])
def test_target_id_keeps_its_digits(target):
    (wanted,) = wanted_in(pa.table({"targetid": target}), SparclSpectra(Web()), "t")
    assert wanted.names == {"targetid": TARGET}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"targetid": [float(TARGET)]}, "t, column 'targetid': ids are floats (double), and 3.96"),
        ({"targetid": [np.nan]}, "t: no 'targetid' in 1 row. Remove them."),
        ({"targetid": [1.5]}, "1.5 is no whole number. Store the ids as int64 or text."),
        ({"targetid": ["J1000+02"]}, "expected whole numbers, as they name spectra."),
        ({"targetid": [5], "redshift": ["high"]}, "t: 'redshift' holds no numbers. Drop it."),
    ],
)
def test_name_that_is_none_is_refused(columns, message):
    with one_line(SpectrumError, message):
        wanted_in(pa.table(columns), SparclSpectra(Web()), "t")


def test_redshift_that_is_missing_is_the_services_own():
    table = pa.table({"targetid": [1, 2, 3], "redshift": [0.1, np.nan, None]})
    wanted = wanted_in(table, SparclSpectra(Web()), "t")
    assert [each.redshift for each in wanted] == [0.1, None, None]
