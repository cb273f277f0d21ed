import gzip

import numpy as np
import pytest
from astropy.io import fits

from targetsel.errors import CutoutError
from targetsel.imaging.folder import Folder

BANDS = ("g", "r", "i")
SCALE = 0.25 / 3600


def header(**cards):
    """A header as image services write it: 0.25 arcsec, nanomaggies unless told otherwise."""
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -SCALE, "CDELT2": SCALE}
    made = fits.Header({**wcs, "BUNIT": "nanomaggy"})
    for key, value in cards.items():
        made.remove(key, ignore_missing=True)
        if value is not None:
            made[key] = value
    return made


def write(path, data, **cards):
    fits.PrimaryHDU(np.asarray(data, np.float32), header(**cards)).writeto(path, overwrite=True)


def cube(seed=0, n_bands=3, size=6):
    return np.random.default_rng(seed).normal(size=(n_bands, size, size)).astype(np.float32)


def one(folder, source_id="7"):
    return folder.read(np.array([source_id], dtype=object)).flux[0]


@pytest.mark.parametrize(
    "cards",
    [
        {"BANDS": "gri"},
        {"BANDS": "g,r,i"},
        {"BAND0": "g", "BAND1": "r", "BAND2": "i"},
        {"FILTER": "gri"},
    ],
)
def test_a_cube_says_its_bands_and_scale(tmp_path, cards):
    write(tmp_path / "7.fits", cube(), **cards)
    folder = Folder.open(tmp_path)
    assert (folder.bands, folder.size) == (BANDS, 6)
    assert folder.pixel_scale == pytest.approx(0.25)
    np.testing.assert_array_equal(one(folder), cube())


def test_given_bands_reorder_a_cube_that_names_its_own(tmp_path):
    write(tmp_path / "7.fits", cube(), BANDS="gri")
    got = one(Folder.open(tmp_path, bands=("i", "z", "g")))
    np.testing.assert_array_equal(got[[0, 2]], cube()[[2, 0]])
    assert np.isnan(got[1]).all()  # z is lost, which is no error


def test_given_bands_name_the_planes_of_a_cube_that_does_not(tmp_path):
    write(tmp_path / "7.fits", cube())
    with pytest.raises(CutoutError, match=r"7\.fits: .*the bands of its 3 planes. Give --bands"):
        Folder.open(tmp_path)
    np.testing.assert_array_equal(one(Folder.open(tmp_path, bands=BANDS)), cube())


@pytest.mark.parametrize("pattern", ["7.{}.fits", "7_{}.fits"])
def test_one_file_per_band_makes_one_cutout(tmp_path, pattern):
    for plane, band in zip(cube(), BANDS, strict=True):
        write(tmp_path / pattern.format(band), plane, FILTER=f"{band}.00000")
    folder = Folder.open(tmp_path)
    assert folder.bands == BANDS
    np.testing.assert_array_equal(one(folder), cube())


def test_image_of_an_unknown_band_beside_others_is_told_as_such(tmp_path):
    for plane, band in zip(cube(), (*BANDS[:2], "J"), strict=True):
        write(tmp_path / f"7.{band}.fits", plane)
    message = r"7\.J\.fits: has 1 plane\(s\), expected 2 \(.*\); its name tells no known band"
    with pytest.raises(CutoutError, match=message):
        one(Folder.open(tmp_path), "7.J")


def test_a_missing_band_is_lost_and_a_missing_source_has_no_cutout(tmp_path):
    for name in ("7_g", "7_r", "8_g"):
        write(tmp_path / f"{name}.fits", cube()[0])
    got = Folder.open(tmp_path).read(np.array([7, 8, 9]))
    assert got.status.tolist() == ["ok", "lost band: r", "no cutout"]


def test_panstarrs_counts_are_divided_by_ten_times_the_exposure(tmp_path):
    # m = 25 + 2.5 log10(t) - 2.5 log10(counts), and nanomaggies have 22.5: a factor of 1/(10 t)
    counts = np.full((6, 6), 4000.0)
    write(
        tmp_path / "7.r.fits",
        counts,
        BUNIT=None,
        EXPTIME=800.0,
        **{"HIERARCH FPA.TELESCOPE": "PS1"},
    )
    assert one(Folder.open(tmp_path)) == pytest.approx(np.full((1, 6, 6), 0.5))


def test_asinh_scaling_is_undone_only_with_both_keywords(tmp_path):
    # v = 2.5 log10(e) asinh((f - BOFFSET) / 2 BSOFTEN)
    f = np.linspace(-10, 1000, 36).reshape(6, 6)
    v = 1.0857362 * np.arcsinh((f - 3.0) / (2 * 5.0))
    write(tmp_path / "7.r.fits", v, BSOFTEN=5.0, BOFFSET=3.0)
    assert one(Folder.open(tmp_path))[0] == pytest.approx(f, rel=1e-5, abs=1e-4)
    write(tmp_path / "7.r.fits", v, BOFFSET=3.0)
    assert one(Folder.open(tmp_path))[0] == pytest.approx(v, rel=1e-6)


def test_a_zero_point_of_25_makes_ten_counts_one_nanomaggy(tmp_path):
    write(tmp_path / "7.r.fits", np.full((6, 6), 10.0), BUNIT="counts")
    assert one(Folder.open(tmp_path, zeropoint=25.0)) == pytest.approx(np.ones((1, 6, 6)))


@pytest.mark.parametrize("cards", [{"EXPTIME": 800.0}, {"TELESCOP": "PS1"}, {"BUNIT": "counts"}])
def test_counts_of_unknown_worth_need_a_zero_point(tmp_path, cards):
    write(tmp_path / "7.r.fits", cube()[0], **{"BUNIT": None, **cards})
    with pytest.raises(CutoutError, match=r"7\.r\.fits: .* what one count is worth.*--zeropoint"):
        Folder.open(tmp_path)


def test_one_exposure_time_does_not_calibrate_a_cube(tmp_path):
    write(tmp_path / "7.fits", cube(), BUNIT=None, EXPTIME=800.0, TELESCOP="PS1", BANDS="gri")
    with pytest.raises(CutoutError, match="Give --zeropoint"):
        Folder.open(tmp_path)


def test_pixels_of_zero_inverse_variance_have_no_data(tmp_path):
    invvar = np.ones((3, 6, 6), np.float32)
    invvar[1, 2, 3] = 0
    hdus = [fits.PrimaryHDU(cube(), header(BANDS="gri")), fits.ImageHDU(invvar, name="INVVAR")]
    fits.HDUList(hdus).writeto(tmp_path / "7.fits")
    got = one(Folder.open(tmp_path))
    assert np.argwhere(np.isnan(got)).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("axis", [0, 2])
def test_npy_arrays_are_read_with_the_band_first_or_last(tmp_path, axis):
    np.save(tmp_path / "7.npy", np.moveaxis(cube(n_bands=5), 0, axis))
    got = one(Folder.open(tmp_path, tuple("yzirg"), 0.25, zeropoint=22.5))
    np.testing.assert_array_equal(got, cube(n_bands=5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "do not name their bands. Give --bands, in the order of the file"),
        ({"bands": BANDS}, "Give --zeropoint"),
        ({"bands": BANDS, "zeropoint": 22.5}, "Give --pixel-scale"),
        ({"bands": ("g", "r"), "zeropoint": 22.5}, r"has shape \(3, 6, 6\).*--bands"),
    ],
)
def test_npy_arrays_need_to_be_told_everything(tmp_path, given, message):
    np.save(tmp_path / "7.npy", cube())
    with pytest.raises(CutoutError, match=message):
        Folder.open(tmp_path, **given)


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "7.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CutoutError, match=r"7\.npy: not an array of numbers, or damaged"):
        Folder.open(tmp_path, BANDS, 0.25, zeropoint=22.5)


def test_larger_images_are_cut_to_their_centre_and_smaller_ones_refused(tmp_path):
    write(tmp_path / "7.fits", cube(size=6), BANDS="gri")
    np.testing.assert_array_equal(one(Folder.open(tmp_path, size=4)), cube()[:, 1:5, 1:5])
    write(tmp_path / "8.fits", cube(size=5), BANDS="gri")
    with pytest.raises(CutoutError, match=r"8\.fits: has 5 x 5 pixels, expected at least 6 x 6"):
        Folder.open(tmp_path).read(np.array([8]))


def test_pixels_of_another_scale_are_an_error_unless_the_scale_is_given(tmp_path):
    write(tmp_path / "7.fits", cube(), BANDS="gri")
    write(tmp_path / "8.fits", cube(), BANDS="gri", CDELT1=-0.262 / 3600, CDELT2=0.262 / 3600)
    with pytest.raises(CutoutError, match=r"8\.fits: its pixels are 0.262 arcsec, expected 0.25"):
        Folder.open(tmp_path).read(np.array([7, 8]))
    got = Folder.open(tmp_path, pixel_scale=0.26).read(np.array([7, 8]))
    assert (got.pixel_scale, got.status.tolist()) == (0.26, ["ok", "ok"])


def test_a_band_named_otherwise_in_the_header_is_an_error(tmp_path):
    write(tmp_path / "7.g.fits", cube()[0], FILTER="r.00000")
    with pytest.raises(CutoutError, match="the header says band r, the name says g"):
        Folder.open(tmp_path).read(np.array([7]))


def test_an_error_page_in_place_of_fits_is_named(tmp_path):
    (tmp_path / "7.fits").write_text("<html>Service Unavailable</html>")
    with pytest.raises(CutoutError, match=r"7\.fits: does not begin like FITS but with '<html>"):
        Folder.open(tmp_path, BANDS)


@pytest.mark.parametrize("keep", [2000, 3000])
def test_a_truncated_file_is_named(tmp_path, keep):
    write(tmp_path / "7.fits", cube(size=64), BANDS="gri")
    path = tmp_path / "7.fits"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CutoutError, match=r"7\.fits, extension 0: .*[Cc]opy (it|the file) again"):
        Folder.open(tmp_path, BANDS)


def test_compressed_files_are_read(tmp_path):
    write(tmp_path / "7.fits", cube(), BANDS="gri")
    (tmp_path / "7.fits.gz").write_bytes(gzip.compress((tmp_path / "7.fits").read_bytes()))
    (tmp_path / "7.fits").unlink()
    np.testing.assert_array_equal(one(Folder.open(tmp_path)), cube())


def test_two_files_for_one_source_are_an_error(tmp_path):
    write(tmp_path / "7.fits", cube(), BANDS="gri")
    write(tmp_path / "7_g.fits", cube()[0])
    with pytest.raises(CutoutError, match=r"7_g\.fits: source '7' has another file, 7\.fits"):
        Folder.open(tmp_path)


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(CutoutError, match="no image in this folder"):
        Folder.open(tmp_path)
    with pytest.raises(CutoutError, match="no such folder"):
        Folder.open(tmp_path / "nothing")


def test_sky_sigma_is_measured_in_nanomaggies(tmp_path):
    rng = np.random.default_rng(0)
    for source in range(20):
        noise = rng.normal(0, 80.0, (32, 32))
        write(tmp_path / f"{source}.r.fits", noise, BUNIT=None, EXPTIME=800.0, INSTRUME="GPC1")
    assert Folder.open(tmp_path).sky_sigma() == pytest.approx([0.01], rel=0.05)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pixel_scale": 0.0}, "pixel scale 0, expected arcsec above zero"),
        ({"pixel_scale": float("nan")}, "pixel scale nan, expected arcsec above zero"),
        ({"size": 0}, "size 0, expected a number of pixels above zero"),
        ({"size": 7}, r"7\.fits: has 6 pixels on its shorter side, expected at least 7"),
        ({"zeropoint": float("inf")}, "zero point inf; expected the AB magnitude"),
    ],
)
def test_numbers_that_no_image_has_are_refused(tmp_path, given, message):
    write(tmp_path / "7.fits", cube(), BANDS="gri")
    with pytest.raises(CutoutError, match=message):
        Folder.open(tmp_path, **given)
