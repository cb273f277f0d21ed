"""Spectra of surveys' files that a decoder is trained on; the tests write the files."""

import numpy as np
import pytest

from targetsel.errors import SpectrumError
from targetsel.training.training_spectra import TrainingSpectra
from tests.spectra.survey_files import write_desi, write_redrock, write_spspec


def test_spectra_that_are_not_usable_are_left_out_and_counted(tmp_path):
    fibers = {"OBJTYPE": np.array(["TGT", "SKY", "TGT", "TGT", "TGT"])}
    write_desi(tmp_path / "coadd-x.fits", [1, 2, 3, 4, 5], fibermap=fibers)
    redshifts = [0.1, 0.1, 0.1, -0.9, 3.0]  # at the last the grid is beyond the spectrum
    write_redrock(tmp_path / "redrock-x.fits", [1, 2, 3, 4, 5], redshifts, [0, 0, 4, 0, 0])
    write_spspec(tmp_path / "spSpec-51602-0266-013.fit")
    spectra = TrainingSpectra.read(tmp_path / "coadd-x.fits")
    assert (len(spectra.flux), spectra.n_unusable) == (1, 4)
    folder = TrainingSpectra.read(tmp_path)
    assert (len(folder.flux), folder.n_unusable) == (2, 4)
    assert folder.flux[0] == pytest.approx(folder.flux[1], abs=0.002)


def test_a_damaged_file_ends_the_reading_of_a_folder(tmp_path):
    write_spspec(tmp_path / "a.fit")
    (tmp_path / "b.fits").write_text("hello")
    with pytest.raises(SpectrumError, match=r"b.fits: not a FITS file"):
        TrainingSpectra.read(tmp_path)


def test_a_file_without_usable_spectra_is_refused(tmp_path):
    write_desi(tmp_path / "coadd-x.fits", [1, 2], arms="B")
    write_redrock(tmp_path / "redrock-x.fits", [1, 2], [0.1, 0.1], [4, 4])
    with pytest.raises(SpectrumError, match=r"target 1: the redshift 0.1 has the warning"):
        TrainingSpectra.read(tmp_path / "coadd-x.fits")
