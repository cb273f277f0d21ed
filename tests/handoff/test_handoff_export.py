"""Round trips: what is read back is what the list says."""

import sys

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits

from targetsel.errors import HandoffError, OutputError
from targetsel.handoff.export import check, separation
from targetsel.handoff.files import read_fits
from targetsel.handoff.registry import TOOLS, find_tool
from tests.handoff.desi_and_pfs import SETTINGS, exported
from tests.handoff.lists_by_hand import target_list

EPOCHS = {"desi": 2026.5, "pfs-uploader": 2000.0, "pfs-netflow": 2016.0, "pfs-ga": 2016.0}


def many_moving(n: int = 50):
    """Targets all over the sky with motions up to 5 arcsec/yr and nine priorities."""
    rng = np.random.default_rng(4)
    level = rng.integers(1, 10, n)
    return target_list(
        n,
        target_id=rng.permutation(2**62 // n * np.arange(n)),
        ra=rng.uniform(0, 360, n),
        dec=np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
        pmra=rng.uniform(-5000, 5000, n),
        pmdec=rng.uniform(-5000, 5000, n),
        ref_epoch=rng.uniform(2000, 2020, n),
        priority=1000 * level,
        program=[f"C{each}" for each in level],
        exptime=np.full(n, 900.0),
    )


@pytest.mark.parametrize("name", list(SETTINGS))
def test_ids_order_of_priorities_and_positions_survive(tmp_path, name):
    tool = TOOLS[name]
    targets = many_moving()
    values = {"exptime": None, "obsconditions": "DARK"}
    values = {k: v for k, v in values.items() if k in SETTINGS[name]}
    done = exported(name, tmp_path / f"a{tool.suffix}", targets, values, assume_still=False)
    back = tool.read(done.files[0])
    assert back.id.tolist() == done.targets.id.tolist()
    if not tool.numbers_rows:
        assert back.id.tolist() == targets.table["target_id"].to_pylist()
    own = targets.table["priority"].to_numpy()
    goodness = -tool.priorities.step * back.priority
    assert (np.sign(own[:, None] - own) == np.sign(goodness[:, None] - goodness)).all()
    assert where_they_are(targets, EPOCHS.get(name), back).max() < 0.001
    report = check(done.targets, done.files[0])
    assert report.n_targets == 50
    assert report.with_priorities
    assert report.largest_offset < 0.001


def where_they_are(targets, epoch, back) -> np.ndarray:
    """Distance [arcsec] of what was read back from a great circle walked by hand."""
    ra, dec, pmra, pmdec, since = (
        targets.table[name].to_numpy() for name in ("ra", "dec", "pmra", "pmdec", "ref_epoch")
    )
    start = SkyCoord(ra, dec, unit="deg")
    years = (epoch if epoch is not None else since) - since
    # On a straight line the angle is the arc tangent of the path.
    angle = np.arctan(np.hypot(pmra, pmdec) * years * np.radians(1 / 3.6e6))
    there = start.directional_offset_by(np.arctan2(pmra, pmdec) * units.rad, angle * units.rad)
    return there.separation(SkyCoord(back.ra, back.dec, unit="deg")).arcsec


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


def test_separation_is_an_angle_on_the_sky_even_across_ra_zero():
    found = separation(np.array([359.9999]), np.array([60.0]), np.array([0.0001]), np.array([60.0]))
    assert found[0] == pytest.approx(0.36, rel=1e-6)


def test_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"does not exist"):
        exported("desi", tmp_path / "nowhere" / "a.fits")


def test_unknown_tool_is_an_error_with_a_hint():
    assert find_tool("desi").name == "desi"
    with pytest.raises(HandoffError, match=r"^no tool 'desy'. Did you mean 'desi'"):
        find_tool("desy")
    with pytest.raises(HandoffError, match=r"Known are desi, desi-tertiary, pfs-uploader"):
        find_tool("zzz")


def test_every_tool_names_its_source_and_its_verbs():
    for name, tool in TOOLS.items():
        assert tool.name == name
        assert tool.title
        assert tool.source
        assert "." in tool.suffix
        assert tool.names is None or tool.names_are
