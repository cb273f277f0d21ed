"""Which column is which band's brightness: by usual names, by options, by the file beside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from targetsel.errors import CatalogError
from targetsel.photometry.bands import Band
from targetsel.photometry.brightness import (
    brightness_lines,
    find_brightness,
    given_columns,
    with_brightness,
)
from targetsel.photometry.columns import CatalogPhotometry
from targetsel.photometry.photometry_file import photometry_schema
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import described
from tests.real_data import real

SHIPPED = Path(__file__).parents[2] / "rules" / "photometry-v1.json"


def names(*columns: str) -> pa.Schema:
    return pa.schema([(name, pa.float64()) for name in columns])


def photometry(units=None, **columns) -> CatalogPhotometry:
    fields = [described(n, pa.float64(), (units or {}).get(n, "")) for n in columns]
    return CatalogPhotometry.of(pa.table(list(columns.values()), schema=pa.schema(fields)))


def taken(*columns: str) -> dict[str, str]:
    found = find_brightness(names(*columns)).columns
    return {str(band): each.name for (_, band, error), each in found.items() if not error}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("gMeanPSFMag", "gMeanKronMag", "rMeanPSFMag"),
         {"g_ps1": "gMeanKronMag", "r_ps1": "rMeanPSFMag"}),
        (("gMeanKronMag", "gFKronFlux", "gKronMag"), {"g_ps1": "gFKronFlux"}),
        (("psfMag_r", "modelMag_r", "petroMag_r"), {"r_sdss": "petroMag_r"}),
        (("modelMag_r", "dered_r"), {"r_sdss": "modelMag_r"}),
        (("dered_r",), {"r_sdss": "dered_r"}),
        (("FLUX_R", "DERED_MAG_R", "MW_TRANSMISSION_R"), {"r_ls": "FLUX_R"}),
        (("r_psfflux_mag", "r_cmodel_mag", "r_cmodel_flux"), {"r_hsc": "r_cmodel_flux"}),
        (("phot_g_mean_mag", "j_m", "w1mpro"),
         {"g_gaia": "phot_g_mean_mag", "j_2mass": "j_m", "w1_wise": "w1mpro"}),
        (("u", "g", "r", "i", "z"), {}),
        (("u", "g", "r", "i", "z", "err_r"),
         {f"{band}_sdss": band for band in "ugriz"}),
        (("g", "r", "i", "z", "zErr", "err_r"), {f"{band}_sdss": band for band in "gri"}),
        (("flux_r", "mw_transmission_r"), {"r_ls": "flux_r"}),
        (("flux_r",), {"r": "flux_r"}),
        (("jmag", "w1mag", "mag_k", "rmag"), {"r": "rmag"}),
    ],
)  # fmt: skip
def test_usual_names_are_found_and_whole_galaxies_come_before_points(columns, expected):
    assert taken(*columns) == expected


def test_a_vega_magnitude_of_gaia_is_brighter_than_the_ab_one_by_the_offset():
    found = photometry(phot_g_mean_mag=[20.0], phot_rp_mean_mag=[20.0])
    assert found.magnitude(Band("g", "gaia")) == pytest.approx([20.1137])
    assert found.magnitude(Band("rp", "gaia")) == pytest.approx([20.3561])
    ab = photometry({"phot_g_mean_mag": "mag(AB)"}, phot_g_mean_mag=[20.0])
    assert ab.magnitude(Band("g", "gaia")) == pytest.approx([20.0])


def test_asinh_magnitudes_of_sdss_are_those_of_its_definition():
    # SDSS: b = 1.2e-10 in r; zero flux is of magnitude -2.5 log b = 24.80205, and 20 is 20.0002 AB.
    found = photometry(modelMag_r=[24.80205, 20.0, -9999.0], modelMagErr_r=[0.1, 0.01, -9999.0])
    flux = found.flux(Band("r", "sdss"))
    assert flux[0] == pytest.approx(0, abs=0.05)
    assert flux[1] == pytest.approx(36307.8, rel=2e-4)
    assert np.isnan(flux[2])
    # d(m) = 2.5/ln10 d(f) / sqrt(f^2 + (2b)^2 f0^2), so at zero flux 2 b f0 = 871.4 nJy.
    assert found.flux_error(Band("r", "sdss"))[0] == pytest.approx(0.1 * 0.921034 * 871.4, rel=1e-3)


def test_fluxes_of_pan_starrs_without_a_unit_are_in_jansky_and_minus_999_is_no_flux():
    found = photometry(gKronFlux=[3.6307805e-6, -999.0], gKronFluxErr=[1e-7, -999.0])
    assert found.flux(Band("g", "ps1"))[0] == pytest.approx(3630.78, rel=1e-5)
    assert found.flux_error(Band("g", "ps1"))[0] == pytest.approx(100.0)
    assert np.isnan(found.flux(Band("g", "ps1"))[1])


def test_inverse_variances_of_legacy_surveys_are_errors_and_zero_is_no_measurement():
    found = photometry(flux_r=[1.0, 0.0], flux_ivar_r=[100.0, 0.0])
    assert found.flux(Band("r", "ls"))[0] == pytest.approx(3630.780548)
    assert found.flux_error(Band("r", "ls"))[0] == pytest.approx(363.0780548)
    assert np.isnan(found.flux(Band("r", "ls"))[1])


def test_errors_of_another_column_are_not_taken():
    found = photometry(petroMag_r=[20.0], modelMag_r=[20.0], modelMagErr_r=[0.1])
    assert np.isnan(found.flux_error(Band("r", "sdss"))).all()


def test_what_was_found_is_said_in_one_line():
    (line,) = brightness_lines(
        find_brightness(names("gMeanKronMag", "rMeanKronMag", "gMeanPSFMag"))
    )
    assert line == (
        "brightness: g, r of Pan-STARRS1 from gMeanKronMag, rMeanKronMag (Kron, AB magnitudes); "
        "not corrected for extinction (as Pan-STARRS1 publishes); not taken: gMeanPSFMag, as the "
        "light of points misses some of a galaxy's"
    )
    assert brightness_lines(find_brightness(names("flux_r_sdss", "rmag"))) == []
    (bare,) = brightness_lines(find_brightness(names("rmag")))
    assert "rmag taken as AB magnitudes of a survey that is not said" in bare
    assert "--brightness r_sdss=rmag" in bare


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("r_sdss", "--brightness 'r_sdss': expected BAND=COLUMN, such as r_sdss=rmag"),
        ("r_sdss=rma", "--brightness 'r_sdss=rma': no column 'rma'. Did you mean 'rmag'?"),
        ("r_sdss=flux", "no column 'flux'; expected one of numbers: rmag, dec."),
        ("rmag=r_sdss", "'rmag' is a column. The band comes first: r_sdss=rmag."),
        ("r_sds=rmag", "--brightness 'r_sds=rmag': unknown band 'r_sds'. Did you mean 'r_sdss'"),
        ("r_sdss=rmag,eror=dec", "unknown key 'eror' in the brightness. Did you mean 'error'?"),
        ("r_sdss=rmag,system=Vega", "the offset from Vega to AB magnitudes is known of g_gaia"),
        ("r_ps1=rmag,system=asinh", "asinh magnitudes are known of u_sdss, g_sdss"),
        ("r_sdss=dec,unit=nJy,system=AB", "'system' and 'offset' are of magnitudes"),
    ],
)
def test_an_option_that_says_what_cannot_be_is_an_error(option, message):
    with pytest.raises(CatalogError) as error:
        find_brightness(names("rmag", "dec"), [option])
    assert message in str(error.value)


FILE = """schema: targetsel/photometry/v1
brightness:
  r_sdss: rmag
  j_2mass: {column: jmag, error: e_jmag, system: Vega}
  g_ps1: {column: gflux, unit: uJy, extinction: corrected, light: psf}
"""


def test_the_file_beside_a_catalog_says_it_and_an_option_comes_first(tmp_path):
    (tmp_path / "a.photometry.yaml").write_text(FILE)
    schema = names("rmag", "jmag", "e_jmag", "gflux", "other")
    for name in ("a.fits", "a.fits.gz", "a.scored.parquet"):
        found = given_columns(schema, (), tmp_path / name)
        assert [each.name for each in found] == ["rmag", "jmag", "e_jmag", "gflux"]
    assert found[1].system.offset == 0.91
    assert (found[3].is_corrected, found[3].is_of_points, found[3].unit) == (True, True, "uJy")
    first = given_columns(schema, ["r_sdss=other,unit=mag"], tmp_path / "a.fits")[0]
    assert first.name == "other"


def test_a_fault_in_the_file_has_its_line_and_a_caret(tmp_path):
    (tmp_path / "a.photometry.yaml").write_text(FILE.replace("system: Vega", "sytem: Vega"))
    with pytest.raises(CatalogError, match=r"yaml:4:\d+: error: unknown key 'sytem'") as error:
        given_columns(names("rmag"), (), tmp_path / "a.fits")
    assert "^" in error.value.detail


def test_the_schema_for_editors_is_the_shipped_one_and_takes_the_file():
    assert json.loads(SHIPPED.read_text()) == photometry_schema()
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(yaml.safe_load(FILE), photometry_schema())


def test_a_note_in_the_metadata_says_the_same_without_file_or_option(tmp_path):
    (tmp_path / "a.photometry.yaml").write_text(FILE)
    schema = with_brightness(
        names("rmag", "jmag", "e_jmag", "gflux", "phot_g_mean_mag"), (), tmp_path / "a.fits"
    )
    table = pa.table([[20.0]] * 5, schema=schema)
    found = CatalogPhotometry.of(table)
    assert found.magnitude(Band("r", "sdss")) == pytest.approx([20.0])
    assert found.magnitude(Band("j", "2mass")) == pytest.approx([20.91])
    assert found.magnitude(Band("g", "gaia")) == pytest.approx([20.1137])
    assert found.flux(Band("g", "ps1")) == pytest.approx([20_000.0])
    assert found.is_corrected(Band("g", "ps1"))
    assert found.flux_error(Band("j", "2mass")) > 0


def test_names_that_say_it_themselves_get_no_note():
    schema = names("flux_r_sdss", "rmag")
    assert with_brightness(schema).equals(schema, check_metadata=True)


def test_a_real_sweep_of_legacy_surveys_needs_no_options():
    table = open_table(real("columns/t-sweep-310m005-320p000.fits")).table
    found = CatalogPhotometry.of(table)
    assert {str(b) for b in found.bands()} >= {"g_ls", "r_ls", "z_ls", "w1_ls", "g_gaia"}
    flux = np.asarray(table["FLUX_R"], dtype=float)
    known = np.isfinite(found.flux(Band("r", "ls")))
    assert known.any()
    assert found.flux(Band("r", "ls"))[known] == pytest.approx(flux[known] * 3630.780548)
    gaia = np.asarray(table["GAIA_PHOT_G_MEAN_MAG"], dtype=float)
    assert np.array_equal(np.isnan(found.flux(Band("g", "gaia"))), gaia == 0)
