"""Spectra in the layouts that surveys publish, made up."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from targetsel.errors import CatalogError
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_match import KnownSpectra, add_known
from targetsel.sky.positions import healpix_of

N = 6
RA, DEC = np.linspace(150, 150.5, N), np.linspace(2, 2.5, N)
REDSHIFT = np.array([0.1, 0.2, -0.0005, 0.4, 0.5, 0.6])
TARGETID = 39627640000000000 + np.arange(N)
OBJID = 1237648720693755900 + np.arange(N)


def column(name, code, values, **more):
    return fits.Column(name, code, array=values, **more)


def write(path, *tables, **named):
    hdus = [fits.BinTableHDU.from_columns(each) for each in tables]
    hdus += [fits.BinTableHDU.from_columns(each, name=name) for name, each in named.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def matched(*files, ids=None, id_name="source_id", radius=1.0):
    columns = {"ra": RA, "dec": DEC, "_healpix_29": healpix_of(RA, DEC)}
    table = pa.table({id_name: np.arange(N) if ids is None else ids, **columns})
    with ScoredFile(table) as file:
        found = add_known(file, KnownSpectra.of(list(files), radius))
        return found, pa.concat_tables(file.tables()).to_pydict()


def spec_obj():
    """The columns of SDSS's specObj that matter, and some beside them."""
    return [
        column("SURVEY", "6A", ["sdss", "boss", "eboss", "sdss", "sdss", "boss"]),
        column("SPECOBJID", "22A", [f"{299489676975171584 + k:>22}" for k in range(N)]),
        column("BESTOBJID", "19A", [str(each) for each in OBJID]),
        column("SPECPRIMARY", "B", np.ones(N)),
        column("SOURCETYPE", "25A", ["GALAXY", "QSO", "STAR", "SKY", "", ""]),
        column("CLASS", "6A", ["GALAXY", "QSO", "STAR", "GALAXY", "GALAXY", "QSO"]),
        column("Z", "E", REDSHIFT),
        column("Z_ERR", "E", [1e-4, 1e-4, 1e-5, -1, 1e-4, -4]),
        column("ZWARNING", "J", [0, 0, 0, 1, 0, 4]),
        column("PLUG_RA", "D", RA + 0.3 / 3600),
        column("PLUG_DEC", "D", DEC),
        column("THETA_COVAR", "4E", np.zeros((N, 4))),
    ]


@pytest.mark.parametrize("ending", ["fits", "fits.gz"])
def test_spectra_of_sdss_are_matched_by_the_places_of_their_fibers(tmp_path, ending):
    found, rows = matched(write(tmp_path / f"specObj-dr17.{ending}", spec_obj()))
    assert rows["known"] == [True, True, True, False, True, False]
    assert rows["known_warning"] == [False] * 5 + [True]
    assert rows["known_redshift"][2] == pytest.approx(-0.0005)
    (counts,) = found.files
    assert (counts.n_of_sky, counts.n_failed, counts.redshifts) == (1, 1, "Z")
    assert found.cautions == []


@pytest.mark.parametrize("as_text", [False, True])
def test_spectra_of_sdss_are_matched_by_the_ids_of_their_photometry(tmp_path, as_text):
    ids = [f" {each}" for each in OBJID] if as_text else OBJID
    path = write(tmp_path / "specObj.fits", spec_obj())
    found, rows = matched(path, ids=ids, id_name="objID")
    assert found.files[0].n_by_id == N - 1
    assert rows["known"] == [True, True, True, False, True, False]


def catalog_of_desi():
    return [
        column("TARGETID", "K", TARGETID),
        column("SURVEY", "7A", ["main"] * N),
        column("Z", "D", REDSHIFT),
        column("ZERR", "D", np.full(N, 1e-5)),
        column("ZWARN", "K", [0, 0, 0, 0, 4, 0]),
        column("SPECTYPE", "6A", ["GALAXY", "QSO", "STAR", "GALAXY", "GALAXY", "QSO"]),
        column("OBJTYPE", "3A", ["TGT"] * (N - 1) + ["SKY"]),
        column("TARGET_RA", "D", RA, unit="deg"),
        column("TARGET_DEC", "D", DEC, unit="deg"),
        column("MEAN_FIBER_RA", "D", RA + 9 / 3600),
        column("MEAN_FIBER_DEC", "D", DEC),
        column("REF_EPOCH", "E", [2015.5] * 3 + [0] * 3),
        column("ZCAT_PRIMARY", "L", np.ones(N, bool)),
    ]


@pytest.mark.parametrize("beside", [{}, {"EXP_FIBERMAP": [column("TARGETID", "K", [1])]}])
def test_catalogs_of_desi_are_read_with_other_tables_beside_them(tmp_path, beside):
    path = write(tmp_path / "zall.fits", ZCATALOG=catalog_of_desi(), **beside)
    found, rows = matched(path)
    assert rows["known"] == [True, True, True, True, False, False]
    assert rows["known_sep"][0] == pytest.approx(0, abs=1e-3)
    assert found.files[0].n_of_sky == 1


def redrock(ids=TARGETID, n=N):
    names = ("TARGETID", "Z", "ZERR", "ZWARN", "SPECTYPE")
    redshifts = [each for each in catalog_of_desi() if each.name in names]
    places = [each for each in catalog_of_desi() if each.name not in names]
    return {
        "REDSHIFTS": redshifts,
        "FIBERMAP": [column("TARGETID", "K", ids[:n]), *places],
        "EXP_FIBERMAP": [column("TARGETID", "K", TARGETID[:1])],
    }


@pytest.mark.parametrize("ending", ["fits", "fits.gz"])
def test_files_of_redrock_have_redshifts_and_positions_in_two_tables(tmp_path, ending):
    path = write(tmp_path / f"redrock-main-dark-1.{ending}", **redrock())
    whole = write(tmp_path / "zall.fits", ZCATALOG=catalog_of_desi())
    assert matched(path)[1] == matched(whole)[1]


def test_tables_of_redrock_with_other_targets_are_refused(tmp_path):
    path = write(tmp_path / "redrock.fits", **redrock(TARGETID[::-1]))
    with pytest.raises(CatalogError, match="REDSHIFTS and FIBERMAP have another 'TARGETID'"):
        matched(path)


def test_several_tables_of_no_known_names_are_refused(tmp_path):
    path = write(tmp_path / "two.fits", A=catalog_of_desi(), B=catalog_of_desi())
    with pytest.raises(CatalogError, match="holds 2 tables"):
        matched(path)


@pytest.mark.parametrize("name", ["NQ", "nQ", "ZQUALITY", "QUALITY", "q"])
def test_marks_of_quality_below_three_are_failures(name):
    quality = [4, 3, 2, 1, 0, 4]
    found, rows = matched(pa.table({"RA": RA, "DEC": DEC, "Z": REDSHIFT, name: quality}))
    assert rows["known"] == [True, True, False, False, False, True]
    assert any(f"or '{name}' below 3" in line for line in found.lines)
    assert found.cautions == []


@pytest.mark.parametrize(
    ("name", "values"),
    [("zflg", [14, 2, 3, 4, 9, 1]), ("quality", [90, 95, 2, 1, 0, 50]), ("quality", ["A"] * N)],
)
def test_other_marks_of_quality_are_named_as_not_read(name, values):
    found, rows = matched(pa.table({"ra": RA, "dec": DEC, "z": REDSHIFT, name: values}))
    assert all(rows["known"])
    assert f"its column '{name}' may mark bad redshifts" in found.cautions[0]


def test_the_mean_quality_of_inspected_sources_is_no_mark_that_is_not_read():
    """`inspect-merge` gives a redshift only from a mean of 2.5 on."""
    numbers = {name: [2.0] * N for name in ("n_inspected", "quality_low", "quality_high")}
    redshift = [0.1, np.nan, *REDSHIFT[2:]]
    quality = [2.5, 1.5, 4.0, 4.0, 4.0, 4.0]
    columns = {"ra": RA, "dec": DEC, "redshift": redshift, "quality": quality, **numbers}
    found, rows = matched(pa.table(columns))
    assert rows["known"] == [True, False, True, True, True, True]
    assert found.cautions == []


def test_positions_with_a_unit_of_hours_are_converted():
    hours = pa.field("RAJ2000", pa.float64(), metadata={"unit": "hourangle"})
    schema = pa.schema([hours, pa.field("DEJ2000", pa.float64()), pa.field("z", pa.float64())])
    assert all(matched(pa.table([RA / 15, DEC, REDSHIFT], schema=schema))[1]["known"])


def test_hours_without_a_unit_are_a_caution():
    found, rows = matched(pa.table({"ra": RA / 15, "dec": DEC, "z": REDSHIFT}))
    assert not any(rows["known"])
    assert "with right ascensions in degrees and not in hours" in found.cautions[0]


def test_a_target_list_holds_no_spectra():
    columns = {"target_id": np.arange(N), "ra": RA, "dec": DEC, "target_bits": [1] * N}
    with pytest.raises(CatalogError, match=r"is a target list.*'exclude' in the rules"):
        matched(pa.table({**columns, "priority": [1] * N}))


def test_positions_that_are_all_missing_are_refused():
    with pytest.raises(CatalogError, match="all its positions are missing"):
        matched(pa.table({"ra": np.full(N, np.nan), "dec": DEC, "z": REDSHIFT}))


def test_a_file_given_twice_counts_once(tmp_path):
    path = write(tmp_path / "zall.fits", ZCATALOG=catalog_of_desi())
    assert matched(path, path)[0] == matched(path)[0]


def test_spectra_that_all_failed_are_a_caution():
    found, rows = matched(pa.table({"ra": RA, "dec": DEC, "z": np.full(N, np.nan)}))
    assert not any(rows["known"])
    assert "all 6 spectra in the known spectra that belong to a source have" in found.cautions[0]
