"""Training by a survey's card: its bands, size and binning, on its pixels alone."""

import pytest

from targetsel.errors import CutoutError, EnsembleError
from targetsel.imaging.store import CutoutStore
from targetsel.mock.camera import find_camera
from targetsel.mock.plan import SkyPlan
from targetsel.mock.writing import write_sky
from targetsel.training.plan import TrainingFiles, TrainingInputs


@pytest.fixture(scope="module")
def hsc(tmp_path_factory):
    sky = tmp_path_factory.mktemp("hsc") / "sky"
    write_sky(sky, SkyPlan.of(12, survey=find_camera("hsc")))
    return sky


def inputs(sky, survey, **options):
    spectra = sky / "spectra.parquet"
    files = TrainingFiles(sky / "cutouts", spectra, None, "mock-ps1", None, None, None)
    return TrainingInputs.read(files, survey=survey, **options)


def test_a_card_gives_bands_size_and_binning(hsc):
    plan = inputs(hsc, "HSC").plan.input
    assert (plan.bands, plan.size, plan.binning) == (tuple("grizy"), 96, 2)
    assert plan.n_pixels == 48


def test_what_is_given_goes_before_the_card(hsc):
    plan = inputs(hsc, "hsc", bands=("g", "i"), size=60, binning=3).plan.input
    assert (plan.bands, plan.size, plan.binning) == (("g", "i"), 60, 3)


def test_of_smaller_cutouts_all_whole_bins_are_taken(hsc):
    assert inputs(hsc, "hsc", binning=5).plan.input.size == 95


@pytest.mark.parametrize(
    ("survey", "message"),
    [
        ("ps1", "its pixels are 0.168 arcsec, but survey 'ps1' needs 0.25 arcsec."),
        ("euclid", "its bands are g, r, i, z, y, but survey 'euclid' needs VIS, Y, J, H."),
        ("lsst", "or name those it has with --bands."),
    ],
)
def test_a_store_of_another_survey_is_refused(hsc, survey, message):
    with pytest.raises(CutoutError) as caught:
        inputs(hsc, survey)
    assert message in str(caught.value)
    assert str(CutoutStore.open(hsc / "cutouts").path) in str(caught.value)


def test_bands_that_the_survey_lacks_are_refused(hsc):
    with pytest.raises(CutoutError, match="survey 'hsc' has no band 'VIS'"):
        inputs(hsc, "hsc", bands=("g", "VIS"))


def test_an_unknown_survey_is_told_with_those_known(hsc):
    with pytest.raises(EnsembleError, match="unknown survey 'des'"):
        inputs(hsc, "des")
