"""The check of a tool's file against the list."""

import sys

import pytest
from astropy.io import fits

from targetsel.errors import HandoffError, OutputError
from targetsel.handoff.export import check
from targetsel.handoff.files import read_fits
from tests.handoff.tools_by_hand import exported


def test_check_finds_a_moved_a_lost_and_a_reordered_target(tmp_path):
    path = tmp_path / "a.fits"
    done = exported("desi", path)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["DEC"][1] += 0.002 / 3600
    with pytest.raises(HandoffError, match=r"target 102 is 0\.0020 arcsec away .*\(read by "):
        check(done.targets, path)
    exported("desi", path)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["PRIORITY"][1] = 1
    with pytest.raises(HandoffError, match=r"priorities differ from those written"):
        check(done.targets, path)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["TARGETID"][1] = 7
    with pytest.raises(HandoffError, match=r"finds 4 targets where 4 were .* first lost is 102"):
        check(done.targets, path)


def test_check_does_not_mind_another_order_of_rows(tmp_path):
    path = tmp_path / "a.fits"
    done = exported("desi", path)
    with fits.open(path) as hdus:
        rows = fits.BinTableHDU(hdus[1].data[::-1].copy())
    fits.HDUList([fits.PrimaryHDU(), rows]).writeto(path, overwrite=True)
    assert check(done.targets, path).n_targets == 4


def test_astropy_reads_where_fitsio_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fitsio", None)
    done = exported("desi", tmp_path / "a.fits")
    assert check(done.targets, tmp_path / "a.fits").reader.startswith("astropy")
    exported("desi-tertiary", tmp_path / "b.fits")
    with pytest.raises(HandoffError, match=r"not a FITS file with a table in extension NONE"):
        read_fits(tmp_path / "b.fits", "NONE")


def test_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"does not exist"):
        exported("desi", tmp_path / "nowhere" / "a.fits")
