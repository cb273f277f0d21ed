"""Outcomes of files of spectra, which are measured first."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

import targetsel as ts
from targetsel.errors import SpectrumError
from targetsel.spectra.grid import wavelengths
from tests.feedback.observed_by_hand import emitters
from tests.real_data import real

COADD = "desi_native/coadd-5-169-thru20210419.fits.gz"


def line_of(width):
    """A flat continuum with H-alpha of this equivalent width [Angstrom]."""
    sigma = 4.0
    shape = np.exp(-0.5 * ((wavelengths() - 6564.6) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    return 1 + width * shape


def flux_of(widths):
    return pa.array([line_of(each).tolist() for each in widths])


def test_spectra_in_the_rest_frame_tell_lines_and_no_redshift(tmp_path):
    path, widths = tmp_path / "spectra.parquet", np.where(np.arange(20) < 15, 80.0, 5.0)
    table = {"source_id": np.arange(101, 121), "flux": flux_of(widths)}
    pq.write_table(pa.table(table | {"ivar": pa.array([[100.0] * 1000] * 20)}), path)
    found = ts.outcomes(emitters(20), spectra=path)
    assert found.redshifts == ()
    assert "photoz" not in found.observed.measured
    assert found.observed.measured["ew_halpha"] == pytest.approx(widths, rel=0.1)
    assert found.classes[0].purity.value == pytest.approx(8 / 10)


@pytest.fixture(scope="module")
def desi_list():
    fibers = Table.read(real(COADD), "FIBERMAP")
    assert len(fibers) == 5
    places = {c: np.array(fibers[f"TARGET_{c.upper()}"], float) for c in ("ra", "dec")}
    return emitters(5, source_id=np.array(fibers["TARGETID"], np.int64), **places)


def test_spectra_of_desi_are_joined_by_their_targetid(tmp_path, desi_list):
    ids = desi_list.table["source_id"].to_numpy()
    table = Table({"TARGETID": ids, "Z": np.full(5, 0.1), "ZWARN": np.zeros(5, int)})
    table.write(tmp_path / "z.fits")
    found = ts.outcomes(desi_list, spectra=real(COADD), redshifts=tmp_path / "z.fits")
    assert found.observed.counts["of targets"] == 5
    good = ids == 39633300968442591  # the others have a fiber out of order, or on the sky
    assert found.observed.success.tolist() == good.tolist()
    assert found.observed.measured["photoz"][good] == pytest.approx(0.1)


def test_spectra_of_desi_without_redshifts_say_where_these_are_kept(desi_list):
    with pytest.raises(SpectrumError, match=r"redrock-5-169.* or give a table .* by --redshifts"):
        ts.outcomes(desi_list, spectra=real(COADD))
