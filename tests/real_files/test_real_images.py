"""Images as surveys and people write them: units, frames, scales, and what lies beside them."""

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from targetsel.errors import CutoutError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.folder import Folder
from targetsel.imaging.packing import pack
from targetsel.sky.catalog import Catalog
from targetsel.surveys.local import Mosaic
from tests.real_files.conftest import one_line

SCALE = 0.25  # [arcsec]
RA, DEC = 150.1, 2.2
ROLES = {"source_id": "id", "ra": "ra", "dec": "dec"}


def sky(ctype=("RA---TAN", "DEC--TAN"), at=(RA, DEC), size=8, **cards):
    """A header with the position in the middle of the image; None takes a card away."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ctype, at, [(size + 1) / 2] * 2
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    header = wcs.to_header()
    for name, value in {"BUNIT": "nanomaggy", "FILTER": "g", **cards}.items():
        header.remove(name, ignore_missing=True)
        if value is not None:
            header[name] = value
    return header


def write(path, header, image=None, **more):
    image = np.ones((8, 8), np.float32) if image is None else image
    hdus = [fits.PrimaryHDU(image, header)]
    hdus += [fits.ImageHDU(data, name=name) for name, data in more.items()]
    fits.HDUList(hdus).writeto(path)


def read(folder, **options):
    return Folder.open(folder, **options).read(np.array([7]))


@pytest.mark.parametrize(
    ("unit", "nanomaggies"),
    [
        ("nanomaggy", 1.0),
        ("nanomaggies", 1.0),
        ("NANOMAGGIES/PIXEL", 1.0),
        ("NANOMAGGIES/ARCSEC**2", SCALE**2),
        ("nmgy", 1.0),
        ("maggies", 1e9),
        ("nJy", 1 / 3630.780548),
        ("uJy / pix", 1e3 / 3630.780548),
        ("Jy", 1e9 / 3630.780548),
        ("1e-6 Jy", 1e3 / 3630.780548),
        ("erg s-1 cm-2 Hz-1", 1e32 / 3630.780548),
        ("nanomaggy/arcsec**2", SCALE**2),
        ("nanomaggies per arcsec^2", SCALE**2),
        ("nanomaggy arcsec-2", SCALE**2),
        # 1 MJy/sr is 1e15 nJy over (180 * 3600 / pi)^2 arcsec^2
        ("MJy/sr", 1e15 / (180 * 3600 / np.pi) ** 2 * SCALE**2 / 3630.780548),
    ],
)
def test_unit_of_an_image_is_that_of_its_pixels(unit, nanomaggies, tmp_path):
    write(tmp_path / "7.fits", sky(BUNIT=unit), np.full((8, 8), 1 / nanomaggies))
    assert read(tmp_path).flux == pytest.approx(np.ones((1, 1, 8, 8)), rel=1e-6)


@pytest.mark.parametrize("unit", ["mag", "mag/arcsec**2", "Jy/beam", "nanomaggy/s"])
def test_unit_that_is_no_flux_is_refused_whatever_the_zero_point(unit, tmp_path):
    write(tmp_path / "7.fits", sky(BUNIT=unit))
    with one_line(CutoutError, f"7.fits: BUNIT is '{unit}', expected a flux density, one per"):
        read(tmp_path, zeropoint=25.0)


def test_surface_brightness_is_multiplied_by_the_area_of_a_pixel_that_is_given(tmp_path):
    write(tmp_path / "7.fits", fits.Header({"BUNIT": "nanomaggy/arcsec2", "FILTER": "g"}))
    assert read(tmp_path, pixel_scale=0.5).flux == pytest.approx(np.full((1, 1, 8, 8), 0.25))
    with one_line(CutoutError, "does not say how large a pixel is. Give --pixel-scale [arcsec]"):
        read(tmp_path)


def test_pixel_scale_that_is_given_wins_over_that_of_the_header(tmp_path):
    write(tmp_path / "7.fits", sky(BUNIT="nanomaggy/arcsec2"))
    got = read(tmp_path, pixel_scale=0.5)
    assert (got.pixel_scale, got.flux[0, 0, 0, 0]) == (0.5, pytest.approx(0.25))


@pytest.mark.parametrize(
    ("cards", "nanomaggies"),
    [
        ({"MAGZERO": 22.5}, 1.0),
        ({"MAGZERO": 30}, 1e-3),
        ({"MAGZERO": 0}, 1e9),  # maggies, as KiDS writes them
        ({"MAGZERO": 25.0, "EXPTIME": 900.0, "BUNIT": "ADU"}, 0.1),
        ({"HIERARCH ZEROPOINT": 27.5}, 0.01),
        ({"PHOTZP": 30.0}, 1e-3),
        ({"FLUXMAG0": 10**10.8}, 10**-1.8),  # 27 mag
        ({"MAGZERO": 27.0, "FLUXMAG0": 10**10.8}, 10**-1.8),
        ({"EXPTIME": 800.0, "INSTRUME": "GPC1"}, 1 / 8000),
    ],
)
def test_zero_point_of_the_header_calibrates_counts(cards, nanomaggies, tmp_path):
    write(tmp_path / "7.fits", sky(**{"BUNIT": None, **cards}), np.full((8, 8), 1 / nanomaggies))
    assert read(tmp_path).flux == pytest.approx(np.ones((1, 1, 8, 8)), rel=1e-5)


@pytest.mark.parametrize("cards", [{"BUNIT": None, "MAGZERO": 0.0}, {"BUNIT": "maggy"}])
def test_counts_that_are_called_maggies_are_refused(cards, tmp_path):
    write(tmp_path / "7.fits", sky(**cards), np.full((8, 8), 0.05))
    with one_line(CutoutError, "7.fits: most of its pixels are brighter than magnitude 7.5 where"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"MAGZERO": 25.0}, "BUNIT makes one count 1 nanomaggy, but MAGZERO 0.1. Remove the one"),
        ({"BUNIT": None, "MAGZERO": "unknown"}, "MAGZERO is 'unknown', expected a number."),
        ({"BUNIT": None, "EXPTIME": "long", "INSTRUME": "GPC1"}, "EXPTIME is 'long', expected a"),
        ({"BSOFTEN": "soft", "BOFFSET": 1.0}, "BSOFTEN is 'soft', expected a number."),
        ({"BUNIT": "count"}, "does not say what one count is worth"),
    ],
)
def test_header_that_contradicts_itself_or_is_no_number_is_refused(cards, message, tmp_path):
    write(tmp_path / "7.fits", sky(**cards))
    with one_line(CutoutError, message):
        read(tmp_path)


def scaled(**cards):
    """A header with its scale told in another way."""
    bare = sky()
    for name in list(bare):
        if name.startswith(("CDELT", "CUNIT", "PC", "CD")):
            bare.remove(name)
    bare.update(cards)
    return bare


DEG = SCALE / 3600


@pytest.mark.parametrize(
    "cards",
    [
        {"CDELT1": -DEG, "CDELT2": DEG},
        {"CD1_1": -DEG, "CD2_2": DEG},
        {"CD1_2": DEG, "CD2_1": DEG},
        {"PC1_1": -DEG, "PC2_2": DEG, "CDELT1": 1.0, "CDELT2": 1.0},
        {"PC1_1": -1.0, "PC2_2": 1.0, "CDELT1": DEG, "CDELT2": DEG},
        {"CDELT1": -SCALE, "CDELT2": SCALE, "CUNIT1": "arcsec", "CUNIT2": "arcsec"},
        {"PC1_1": -SCALE, "PC2_2": SCALE, "CUNIT1": "arcsec", "CUNIT2": "arcsec"},
        {"CDELT1": -DEG, "CDELT2": DEG, "CROTA2": 30.0},
    ],
)
def test_pixel_scale_is_a_quarter_of_an_arcsecond_however_it_is_written(cards, tmp_path):
    header = scaled(**cards)
    if "CUNIT1" in cards:  # the reference is then in arcsec too
        header.update({"CRVAL1": RA * 3600, "CRVAL2": DEC * 3600})
    write(tmp_path / "7.fits", header)
    assert read(tmp_path).pixel_scale == pytest.approx(SCALE, rel=1e-6)
    assert read(tmp_path, pixel_scale=0.3).pixel_scale == 0.3


@pytest.mark.parametrize(
    "name", ["7.mask", "7_invvar", "7.wt", "7.g.mask", "7.weight.g", "7-model", "7_g_rms", "7.psf"]
)
def test_file_called_a_mask_or_a_weight_is_left_out(name, tmp_path):
    write(tmp_path / "7.g.fits", sky())
    write(tmp_path / f"{name}.fits", sky(BUNIT="count"), np.zeros((4, 4), np.float32))
    folder = Folder.open(tmp_path)
    assert (len(folder), folder.left_out) == (1, (f"{name}.fits",))
    assert read(tmp_path).flux.mean() == 1


@pytest.mark.parametrize(
    "label", [{"EXTNAME": "MASK"}, {"IMTYPE": "invvar"}, {"IMAGETYP": "model"}, {"EXTTYPE": "WHT"}]
)
def test_extension_labelled_as_no_image_is_passed_over_or_refused(label, tmp_path):
    first = fits.PrimaryHDU(np.full((8, 8), 9.0, np.float32), sky(**label))
    second = fits.ImageHDU(np.ones((8, 8), np.float32), sky())
    fits.HDUList([first, second]).writeto(tmp_path / "7.fits")
    assert read(tmp_path).flux.mean() == 1
    (tmp_path / "7.fits").unlink()
    first.writeto(tmp_path / "7.fits")
    ((key, word),) = label.items()
    with one_line(CutoutError, f"7.fits: holds no image ({key} is '{word}'). Take it out of"):
        read(tmp_path)


def test_cards_of_the_first_header_hold_for_the_image_behind_it(tmp_path):
    first = fits.PrimaryHDU(header=fits.Header({"FILTER": "r DECam SDSS c0002", "MAGZERO": 25.0}))
    image = fits.ImageHDU(np.ones((8, 8), np.float32), sky(FILTER=None, BUNIT=None))
    fits.HDUList([first, image]).writeto(tmp_path / "7.fits")
    got = read(tmp_path)
    assert (got.bands, got.pixel_scale) == (("r",), pytest.approx(SCALE))
    assert got.flux.mean() == pytest.approx(0.1)
    (tmp_path / "7.fits").rename(tmp_path / "tile.fits")
    (reply,) = Mosaic.open(tmp_path, ("r",), 4).fetch(RA, DEC)
    assert reply.value.mean() == pytest.approx(0.1)


@pytest.mark.parametrize("by", ["FILTER", "EXTNAME"])
def test_file_with_an_image_of_each_band_is_refused_and_not_read_in_part(by, tmp_path):
    image = np.ones((8, 8), np.float32)
    images = [fits.ImageHDU(image, sky(**{"FILTER": None, by: band})) for band in "gr"]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "7.fits")
    with one_line(CutoutError, "7.fits: holds an image in each of the bands g, r. Write one cube"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["7.FITS", "7.fit", "7.Fits"])
def test_ending_of_a_file_may_be_written_otherwise(name, tmp_path):
    write(tmp_path / name, sky(), np.eye(8, dtype=np.float32))
    assert read(tmp_path).status.tolist() == ["ok"]


def test_blank_pixels_of_scaled_integers_have_no_data(tmp_path):
    image = np.arange(64, dtype=np.int16).reshape(8, 8)
    hdu = fits.PrimaryHDU(image, sky())
    hdu.header.update({"BSCALE": 0.5, "BZERO": 1.0, "BLANK": 63})
    hdu.writeto(tmp_path / "7.fits")
    flux = read(tmp_path).flux[0, 0]
    assert np.argwhere(np.isnan(flux)).tolist() == [[7, 7]]
    assert flux[0, :3].tolist() == [1.0, 1.5, 2.0]


@pytest.mark.parametrize("code", [-999, -9999, 1e20, -1e30, np.inf])
def test_codes_among_pixels_have_no_data(code, tmp_path):
    image = np.arange(64, dtype=np.float32).reshape(8, 8)
    image[7, 7] = code
    write(tmp_path / "7.fits", sky(), image)
    assert np.argwhere(np.isnan(read(tmp_path).flux[0, 0])).tolist() == [[7, 7]]


@pytest.mark.parametrize("value", [0.0, -99.0, 1.5, np.nan])
def test_band_of_one_value_is_lost(value):
    flux = np.random.default_rng(1).normal(size=(2, 2, 8, 8)).astype(np.float32)
    flux[0, 1] = value
    flux[0, 1, 0, 0] = np.nan
    cutouts = Cutouts(np.array([1, 2]), flux, ("g", "r"), SCALE, np.ones(2, dtype=bool))
    assert cutouts.status.tolist() == ["lost band: r", "ok"]


def test_image_without_pixels_is_refused(tmp_path):
    header = sky()
    fits.PrimaryHDU(np.ones((8, 8), np.float32), header).writeto(tmp_path / "7.fits")
    content = (tmp_path / "7.fits").read_bytes()[:2880]
    empty = content.replace(b"NAXIS1  =                    8", b"NAXIS1  =                    0")
    (tmp_path / "7.fits").write_bytes(empty)
    with one_line(CutoutError, "7.fits: holds an image of shape (8, 0), expected (H, W) or a cube"):
        read(tmp_path)


def test_compressed_image_is_that_of_the_plain_file(tmp_path):
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    fits.CompImageHDU(image, sky(size=64), compression_type="RICE_1").writeto(tmp_path / "7.fits")
    packed = read(tmp_path)
    assert packed.pixel_scale == pytest.approx(SCALE)
    np.testing.assert_allclose(packed.flux[0, 0], image, atol=0.3)  # RICE of floats loses digits


def test_npy_header_that_asks_for_more_than_the_file_has_is_refused(tmp_path):
    np.save(tmp_path / "7.npy", np.zeros((1, 8, 8)))
    content = (tmp_path / "7.npy").read_bytes()
    huge = content.replace(b"(1, 8, 8), }     ", b"(1, 8000000, 8000")[:128] + content[128:]
    (tmp_path / "7.npy").write_bytes(huge)
    with one_line(CutoutError, "7.npy: not an array of numbers, or damaged or cut short"):
        read(tmp_path, bands=("g",), pixel_scale=SCALE, zeropoint=22.5)


HERE = SkyCoord(RA, DEC, unit="deg")


@pytest.mark.parametrize(
    ("ctype", "at", "cards"),
    [
        (("RA---TAN", "DEC--TAN"), (RA, DEC), {}),
        (("RA---TAN", "DEC--TAN"), (HERE.fk5.ra.deg, HERE.fk5.dec.deg), {"RADESYS": "FK5"}),
        (
            ("RA---TAN", "DEC--TAN"),
            (HERE.fk4.ra.deg, HERE.fk4.dec.deg),
            {"RADESYS": "FK4", "EQUINOX": 1950.0},
        ),
        (
            ("GLON-TAN", "GLAT-TAN"),
            (HERE.galactic.l.deg, HERE.galactic.b.deg),
            {"RADESYS": None},
        ),
        (("DEC--TAN", "RA---TAN"), (DEC, RA), {}),
    ],
    ids=["ICRS", "FK5", "FK4", "Galactic", "declination first"],
)
def test_tile_in_any_frame_is_cut_at_the_source(ctype, at, cards, tmp_path):
    image = np.zeros((101, 61), np.float32)
    image[50, 30] = 7.0
    header = sky(ctype, at, **cards)
    header.update({"CRPIX1": 31.0, "CRPIX2": 51.0})
    write(tmp_path / "tile.g.fits", header, image)
    mosaic = Mosaic.open(tmp_path, ("g",), 5)
    (reply,) = mosaic.fetch(RA, DEC)
    expected = np.zeros((5, 5))
    expected[2, 2] = 7.0
    np.testing.assert_array_equal(reply.value, expected)
    away = HERE.directional_offset_by(0 * u.deg, 60 * u.arcsec)
    (reply,) = mosaic.fetch(away.ra.deg, away.dec.deg)
    assert reply.status == "outside the footprint"


@pytest.mark.parametrize(("dec", "away"), [(DEC + 59 / 3600, 0), (DEC + 61 / 3600, 1), (-DEC, 1)])
def test_image_of_another_place_is_counted_when_it_is_packed(dec, away, tmp_path):
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    write(tmp_path / "images" / "7.fits", sky(size=64), noise)
    folder = Folder.open(tmp_path / "images")
    catalog = Catalog(pa.table({"id": [7], "ra": [RA], "dec": [dec]}), ROLES)
    packed = pack(folder, [catalog], tmp_path / "store", folder.sky_sigma())
    assert (packed.written, packed.elsewhere) == (1, away)


def test_weight_maps_beside_tiles_are_no_tiles(tmp_path):
    write(tmp_path / "legacysurvey-1500p022-image-g.fits", sky())
    write(tmp_path / "legacysurvey-1500p022-invvar-g.fits", sky(), np.full((8, 8), 99, np.float32))
    write(tmp_path / "coadd.g.fits", sky(IMTYPE="chi2"), np.full((8, 8), 99, np.float32))
    mosaic = Mosaic.open(tmp_path, ("g",), 4)
    assert [tile.path.name for tile in mosaic.tiles["g"]] == ["legacysurvey-1500p022-image-g.fits"]


def test_damaged_tile_costs_the_sources_in_it_only(tmp_path):
    write(tmp_path / "a.g.fits", sky(size=400), np.ones((400, 400), np.float32))
    write(tmp_path / "b.g.fits", sky(at=(RA, DEC + 1), size=400), np.ones((400, 400), np.float32))
    mosaic = Mosaic.open(tmp_path, ("g",), 4)
    content = (tmp_path / "b.g.fits").read_bytes()
    (tmp_path / "b.g.fits").write_bytes(content[:6000])
    (good,) = mosaic.fetch(RA, DEC)
    (bad,) = mosaic.fetch(RA, DEC + 1)
    assert (good.status, bad.final) == ("ok", False)
    assert "its header tells of 640000 bytes of data, but the file has" in bad.status


@pytest.mark.parametrize(
    "name",
    [
        "7.g.fits",
        "7_g.fits.gz",
        "7-g.FITS",
        "7.G.fits",
        "7-G.fit",
        "g/7.fits",
        "G/7.fts",
        "g/7.g.fits",
    ],
)
def test_band_is_found_in_the_name_of_a_file_or_of_its_folder(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write(tmp_path / name, sky(FILTER=None))
    write(tmp_path / "7.y.fits", sky(FILTER=None), np.full((8, 8), 2, np.float32))
    got = read(tmp_path)
    assert (got.bands, got.flux.mean(axis=(2, 3)).tolist()) == (("g", "y"), [[1, 2]])


@pytest.mark.parametrize(
    ("cards", "bands"),
    [
        ({"FILTER": "g"}, "g"),
        ({"FILTER": "g.00000"}, "g"),
        ({"FILTER": "Y"}, "y"),
        ({"FILTER": "z DECam SDSS c0004 9260.0 1520.0"}, "z"),
        ({"FILTER": "Y DECam c0005 10095.0 1130.0"}, "y"),
        ({"FILTER": "r.MP9602"}, "r"),
        ({"FILTER": "HSC-R2"}, "r"),
        ({"FILTER": "HSC-Y"}, "y"),
        ({"FILTER": "ZTF_g"}, "g"),
        ({"FILTER": "OCAM_r_SDSS"}, "r"),
        ({"FILTER": "i_03"}, "i"),
        ({"BANDS": "Y"}, "y"),
        ({"BAND": "Y", "BAND0": "Y"}, "y"),
    ],
)
def test_filter_of_the_header_names_the_band(cards, bands, tmp_path):
    write(tmp_path / "7.fits", sky(**({"FILTER": None} | cards)))
    assert read(tmp_path).bands == tuple(bands)


@pytest.mark.parametrize(
    "filter_name", ["R", "I", "B", "F814W", "clear", "g,r", "L", "gri", "rprime"]
)
def test_filter_that_is_none_of_the_bands_is_asked_for(filter_name, tmp_path):
    write(tmp_path / "7.fits", sky(FILTER=filter_name))
    with one_line(CutoutError, "7.fits: neither the header nor the file's name tells the bands of"):
        read(tmp_path)


def test_folder_whose_names_are_not_those_of_sources_says_what_is_understood(tmp_path):
    (tmp_path / "images").mkdir()
    write(tmp_path / "images" / "cutout-7-HSC.fits", sky())
    folder = Folder.open(tmp_path / "images")
    catalog = Catalog(pa.table({"id": [7], "ra": [RA], "dec": [DEC]}), ROLES)
    message = (
        "has no image of a source of the catalog, whose first is '7'; cutout-7-HSC.fits is of "
        "source 'cutout-7-HSC'. Names that are understood: <id>.fits, <id>.<band>.fits (or with"
    )
    with one_line(CutoutError, message):
        pack(folder, [catalog], tmp_path / "store", np.ones(1))


def test_sources_of_images_that_the_catalog_lacks_are_told(tmp_path):
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    for name in ("7.g", "7.J"):
        write(tmp_path / "images" / f"{name}.fits", sky(size=64), noise)
    folder = Folder.open(tmp_path / "images")
    catalog = Catalog(pa.table({"id": [7], "ra": [RA], "dec": [DEC]}), ROLES)
    packed = pack(folder, [catalog], tmp_path / "store", np.ones(1))
    assert (packed.written, packed.not_asked) == (1, ("7.J",))


@pytest.mark.parametrize("ending", ["bz2", "xz", "Z", "zip"])
def test_image_in_another_packing_is_refused_and_not_passed_over(ending, tmp_path):
    write(tmp_path / "7.g.fits", sky())
    (tmp_path / f"7.r.fits.{ending}").write_bytes(b"packed")
    with one_line(CutoutError, f"7.r.fits.{ending}: is compressed in a way that is not read here"):
        read(tmp_path)


@pytest.mark.parametrize(
    "name", ["tile-g.fits", "tile.G.FITS", "calexp-HSC-G-9813.fits.gz", "t_g_1.fit"]
)
def test_band_of_a_tile_is_found_in_its_name(name, tmp_path):
    write(tmp_path / name, sky(FILTER=None))
    (reply,) = Mosaic.open(tmp_path, ("g",), 4).fetch(RA, DEC)
    assert reply.status == "ok"


def images(*names, shape=(8, 8)):
    """Units of a file with images of these names, each filled with its own number."""
    return [fits.ImageHDU(np.full(shape, k + 1, "f4"), sky(EXTNAME=n)) for k, n in enumerate(names)]


@pytest.mark.parametrize(
    ("names", "value"),
    [
        (("SCI", "ERR", "DQ"), 1),
        (("MASK", "WEIGHT", "SCI"), 3),
        (("IMAGE", "MASK", "VARIANCE"), 1),
        (("VAR_POISSON", "AREA", "SCI", "CON", "WHT"), 3),
    ],
)
def test_image_is_found_among_what_accompanies_it(names, value, tmp_path):
    calibration = fits.ImageHDU(np.zeros(2048, np.float32))  # as frames of SDSS have
    fits.HDUList([fits.PrimaryHDU(), calibration, *images(*names)]).writeto(tmp_path / "7.fits")
    assert read(tmp_path).flux.mean() == value


@pytest.mark.parametrize("names", [("SCI", "SCI"), ("CCD1", "CCD2"), (None, None)])
def test_file_of_which_nobody_can_say_which_image_is_meant_is_refused(names, tmp_path):
    fits.HDUList([fits.PrimaryHDU(), *images(*names)]).writeto(tmp_path / "7.fits")
    with one_line(CutoutError, "7.fits: holds 2 images, and nobody can say which is meant. Write"):
        read(tmp_path)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 8, 8)])
def test_axes_of_length_one_before_the_image_are_nothing(shape, tmp_path):
    write(tmp_path / "7.fits", sky(), np.ones(shape, np.float32))
    assert read(tmp_path).flux.shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    "image",
    [
        np.full((8, 8), 40_000, np.uint16),
        np.full((8, 8), -3, np.int8),
        np.full((8, 8), 200, np.uint8),
        np.full((8, 8), 2**18, np.int64),
        np.full((8, 8), 1.5, ">f8"),
    ],
    ids=lambda image: str(image.dtype),
)
def test_pixels_of_any_type_keep_their_values(image, tmp_path):
    write(tmp_path / "7.fits", sky(), image)
    np.testing.assert_array_equal(read(tmp_path).flux[0, 0], image.astype(np.float32))


def test_pixels_that_are_infinite_or_beyond_single_precision_have_no_data(tmp_path):
    image = np.ones((8, 8))
    image[0, :3] = np.inf, -np.inf, 1e300
    write(tmp_path / "7.fits", sky(), image)
    assert np.argwhere(np.isnan(read(tmp_path).flux[0, 0])).tolist() == [[0, 0], [0, 1], [0, 2]]


@pytest.mark.parametrize("magnitude", [-99.0, 99.0, 999.0])
def test_zero_point_that_stands_for_none_is_refused(magnitude, tmp_path):
    write(tmp_path / "7.fits", sky(BUNIT=None, MAGZERO=magnitude))
    with one_line(CutoutError, f"7.fits: MAGZERO is {magnitude:g}; expected the AB magnitude of"):
        read(tmp_path)


@pytest.mark.parametrize("cards", [{}, {"CDELT1": 0.0, "CDELT2": 0.0}])
def test_scale_that_is_missing_is_not_made_up(cards, tmp_path):
    write(tmp_path / "7.fits", scaled(**cards))
    with one_line(CutoutError, "7.fits: does not say how large a pixel is. Give --pixel-scale"):
        read(tmp_path)


@pytest.mark.parametrize("cards", [{"CRVAL1": "x"}, {"CRVAL2": None}, {"CRPIX1": None}])
def test_place_that_is_missing_is_not_made_up(cards, tmp_path):
    write(tmp_path / "7.g.fits", sky(**cards))
    got = read(tmp_path)
    assert got.pixel_scale == pytest.approx(SCALE)
    assert np.isnan(got.position).all()
    with one_line(CutoutError, "expected a 2-D FITS image with sky coordinates. Repair it"):
        Mosaic.open(tmp_path, ("g",), 4)


def test_pixels_that_are_not_square_are_refused_unless_their_scale_is_given(tmp_path):
    write(tmp_path / "7.fits", scaled(CDELT1=-DEG, CDELT2=2 * DEG))
    with one_line(CutoutError, "7.fits: its pixels are 0.25 x 0.5 arcsec, expected square ones."):
        read(tmp_path)
    assert read(tmp_path, pixel_scale=0.3).pixel_scale == 0.3


@pytest.mark.parametrize(
    "cards",
    [
        {"CD1_1": -DEG * 0.6, "CD1_2": DEG * 0.8, "CD2_1": DEG * 0.8, "CD2_2": DEG * 0.6},
        {"CD1_1": DEG, "CD2_2": DEG},
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CD1_1": -DEG, "CD2_2": DEG,
         "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-6, "B_0_2": 1e-6},
        {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "CD1_1": -DEG, "CD2_2": DEG,
         "PV1_1": 1.0, "PV2_1": 1.0},
        {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "CD1_1": -DEG, "CD2_2": DEG, "PV2_1": 1.0},
    ],
    ids=["turned", "mirrored", "SIP", "TPV", "ZPN"],
)  # fmt: skip
def test_tile_of_any_projection_is_cut_at_the_source(cards, tmp_path):
    image = np.zeros((41, 41), np.float32)
    image[20, 20] = 7.0
    header = scaled(**cards)
    header.update({"CRPIX1": 21.0, "CRPIX2": 21.0})
    write(tmp_path / "tile.g.fits", header, image)
    (reply,) = Mosaic.open(tmp_path, ("g",), 3).fetch(RA, DEC)
    assert (reply.value[1, 1], reply.value.sum()) == (7.0, 7.0)


@pytest.mark.parametrize("label", ["INVVAR", "IVAR", "cutout ivar"])
def test_pixels_of_no_inverse_variance_have_no_data(label, tmp_path):
    write(tmp_path / "7.fits", sky(), **{label: np.eye(8, dtype=np.float32)})
    assert np.isfinite(read(tmp_path).flux).sum() == 8


def test_inverse_variance_of_another_shape_is_refused(tmp_path):
    write(tmp_path / "7.fits", sky(), INVVAR=np.ones((4, 4), np.float32))
    with one_line(CutoutError, "7.fits: its inverse variance has the shape (4, 4), but the image"):
        read(tmp_path)
