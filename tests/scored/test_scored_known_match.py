"""Sources that have a spectrum already, by files of spectra."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_match import KnownSpectra, add_known
from targetsel.sky.positions import healpix_of

ARCSEC = 1 / 3600


def catalog(ra, dec, ids=None, id_name="source_id", **columns):
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    ids = np.arange(1, len(ra) + 1) if ids is None else ids
    pixels = healpix_of(np.mod(ra, 360), dec)
    named = {id_name: ids, "ra": ra, "dec": dec, "_healpix_29": pixels, **columns}
    return pa.table(named)


def matched(table, *spectra, radius=1.0):
    with ScoredFile(table) as file:
        found = add_known(file, KnownSpectra(spectra, radius))
        (rows,) = [pa.concat_tables(file.tables()).to_pydict()]
    return found, rows


def known(table, *spectra, radius=1.0):
    return matched(table, *spectra, radius=radius)[1]["known"]


def spectra(ra, dec, **columns):
    return pa.table({"ra": np.asarray(ra, float), "dec": np.asarray(dec, float), **columns})


def test_the_nearest_source_has_the_spectrum_and_its_neighbour_does_not():
    table = catalog([10.0, 10.0], [0.0, 1.2 * ARCSEC])
    found, rows = matched(table, spectra([10.0], [0.5 * ARCSEC], z=[0.3]))
    assert rows["known"] == [True, False]
    assert rows["known_redshift"] == [0.3, None]
    assert rows["known_sep"][0] == pytest.approx(0.5)
    assert rows["known_sep"][1] is None
    assert rows["known_warning"] == [False, False]
    assert found.n_beside == 1
    assert found.files[0].n_by_position == 1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_sources_at_the_same_distance_are_told_apart_by_their_ids_in_any_order(order):
    ids, dec = np.array([7, 5, 9]), np.array([0.4, -0.4, 0.4]) * ARCSEC
    table = catalog([10.0] * 3, dec, ids).take(pa.array(order))
    _, rows = matched(table, spectra([10.0], [0.0]))
    assert [i for i, each in zip(rows["source_id"], rows["known"], strict=True) if each] == [5]


@pytest.mark.parametrize(
    ("ra", "dec", "other_ra", "other_dec"),
    [
        (0.0, 0.0, 360 - 0.5 * ARCSEC, 0.0),
        (359.9999, 10.0, -0.0001, 10.0),
        (30.0, 90 - 0.2 * ARCSEC, 210.0, 90 - 0.2 * ARCSEC),
        (100.0, -90.0, 0.0, -90.0),
    ],
)
def test_spectra_match_across_ra_zero_and_the_poles(ra, dec, other_ra, other_dec):
    assert known(catalog([ra], [dec]), spectra([other_ra], [other_dec])) == [True]


def test_the_radius_is_in_arcsec_and_includes_its_rim():
    table, there = catalog([50.0], [0.0]), spectra([50.0 + 2 * ARCSEC], [0.0])
    assert known(table, there) == [False]
    assert known(table, there, radius=2.001) == [True]


@pytest.mark.parametrize("radius", [0, -1, 61, np.nan, np.inf])
def test_a_radius_that_is_none_is_refused(radius):
    with pytest.raises(CatalogError, match="expected more than 0"):
        KnownSpectra((), radius)


def test_the_best_of_several_spectra_counts_in_any_order():
    columns = {
        "Z": [0.9, 0.5, 0.4, 0.3, 0.2],
        "ZERR": [1e-6, 1e-3, 1e-4, 1e-5, np.nan],
        "ZWARN": [4, 0, 0, 0, 0],
        "ZCAT_PRIMARY": [True, True, True, False, True],
    }
    table = pa.table({"TARGET_RA": [10.0] * 5, "TARGET_DEC": [0.0] * 5, **columns})
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        _, rows = matched(catalog([10.0], [0.0]), table.take(pa.array(order)))
        assert rows["known_redshift"] == [0.4]


def test_spectra_with_a_warning_or_without_redshift_do_not_make_a_source_known():
    table = catalog([1.0, 2.0, 3.0, 4.0], [0.0] * 4)
    file = spectra([1, 2, 3, 4], [0] * 4, z=[0.1, np.nan, -99.0, 0.4], zWarning=[4, 0, 0, 0])
    found, rows = matched(table, file)
    assert rows["known"] == [False, False, False, True]
    assert rows["known_warning"] == [True, True, True, False]
    assert rows["known_redshift"] == [None, None, None, 0.4]
    assert (found.n_known, found.n_warned, found.files[0].n_failed) == (1, 3, 3)


def test_masked_values_are_no_warning_no_redshift_and_no_position():
    table = catalog([1.0, 2.0, 3.0], [0.0] * 3)
    file = pa.table(
        {
            "ra": pa.array([1.0, 2.0, None]),
            "dec": pa.array([0.0, 0.0, 0.0]),
            "redshift": pa.array([0.1, None, 0.3]),
            "zwarn": pa.array([None, 0, 0], pa.int32()),
        }
    )
    found, rows = matched(table, file)
    assert rows["known"] == [True, False, False]
    assert rows["known_warning"] == [False, True, False]
    assert found.files[0].n_without_position == 1


def test_a_file_without_redshifts_tells_only_that_sources_are_known():
    found, rows = matched(catalog([1.0], [0.0]), spectra([1.0], [0.0]))
    assert rows["known"] == [True]
    assert rows["known_redshift"] == [None]
    assert any("no column of redshifts" in line for line in found.lines)


def test_a_band_named_z_is_no_redshift():
    file = spectra([1.0], [0.0], g=[20.0], r=[19.0], i=[18.5], z=[18.2])
    assert matched(catalog([1.0], [0.0]), file)[1]["known_redshift"] == [None]


def test_numbers_that_are_no_redshifts_are_refused():
    with pytest.raises(CatalogError, match="column 'z': 1 of 1 numbers are 20 or more, up to 5400"):
        matched(catalog([1.0], [0.0]), spectra([1.0], [0.0], z=[5400.0]))


def test_ids_of_one_kind_find_sources_that_have_moved():
    ids = [39627640000000001, 39627640000000002]
    table = catalog([10.0, 20.0], [0.0, 0.0], ids, "TARGETID")
    file = pa.table(
        {"TARGETID": ids[::-1], "TARGET_RA": [20.0, 10.0], "TARGET_DEC": [5 * ARCSEC, 0.0]}
    )
    found, rows = matched(table, file)
    assert rows["known"] == [True, True]
    assert (found.files[0].n_by_id, found.files[0].ids) == (2, "TARGETID")


def test_ids_as_text_with_blanks_are_those_of_numbers():
    ids = [1237648720693755918]
    table = catalog([10.0], [0.0], ids, "objID")
    file = pa.table({"BESTOBJID": [" 1237648720693755918"], "PLUG_RA": [10.0], "PLUG_DEC": [0.0]})
    assert matched(table, file)[0].files[0].n_by_id == 1


def test_ids_that_floats_cannot_hold_are_refused():
    table = catalog([10.0], [0.0], [39627640000000001], "TARGETID")
    file = spectra([10.0], [0.0], TARGETID=[39627640000000001.0])
    with pytest.raises(CatalogError, match="where floats lose digits of ids"):
        matched(table, file)


def test_ids_of_one_kind_at_different_places_are_refused():
    table = catalog([10.0], [0.0], [12], "TARGETID")
    with pytest.raises(CatalogError, match="over 60 arcsec from their positions"):
        matched(table, spectra([11.0], [0.0], TARGETID=[12]))


def test_ids_that_every_catalog_numbers_for_itself_give_way_to_positions():
    table = catalog([10.0, 20.0], [0.0, 0.0])
    found, rows = matched(table, spectra([20.0], [0.0], source_id=[1]))
    assert rows["known"] == [False, True]
    assert "numbers other sources" in found.files[0].note


def test_a_table_of_ids_alone_serves():
    found, rows = matched(catalog([10.0, 20.0], [0.0, 0.0]), pa.table({"source_id": [2]}))
    assert rows["known"] == [False, True]
    assert rows["known_sep"] == [None, None]
    assert found.files[0].n_by_id == 1


def test_a_table_with_neither_positions_nor_ids_of_the_catalog_is_refused():
    with pytest.raises(CatalogError, match="no columns of positions"):
        matched(catalog([10.0], [0.0]), pa.table({"name": ["a"], "z": [0.1]}))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (spectra([], []), "has no rows"),
        (spectra([1.0], [91.0]), "off the sphere"),
        (spectra([1.0], [0.0], z=["high"]), "column 'z': holds text"),
        (spectra([1.0], [0.0], z=[0.1], ZWARN=["good"]), "column 'ZWARN': holds text"),
        (pa.table({"ra": ["01:02:03"], "dec": ["+01:02:03"]}), "Convert sexagesimal"),
    ],
)
def test_files_that_cannot_serve_are_refused(file, said):
    with pytest.raises(CatalogError, match=said):
        matched(catalog([1.0], [0.0]), file)


def test_positions_in_radians_and_in_other_frames_are_refused():
    n = 100
    ra, dec = np.linspace(0, 2 * np.pi, n), np.linspace(-np.pi / 2, np.pi / 2, n)
    with pytest.raises(CatalogError, match="look like radians"):
        matched(catalog([1.0], [0.0]), spectra(ra, dec))
    fields = [pa.field(n, pa.float64(), metadata={b"frame": b"FK4"}) for n in ("ra", "dec")]
    file = pa.table([[1.0], [0.0]], schema=pa.schema(fields))
    with pytest.raises(CatalogError, match="in the frame 'FK4'"):
        matched(catalog([1.0], [0.0]), file)


def test_spectra_of_the_sky_are_passed_over():
    file = spectra([1.0, 2.0], [0.0, 0.0], OBJTYPE=["SKY", "TGT"])
    found, rows = matched(catalog([1.0, 2.0], [0.0, 0.0]), file)
    assert rows["known"] == [False, True]
    assert found.files[0].n_of_sky == 1


def test_proper_motion_is_followed_to_the_epoch_of_the_spectra():
    table = catalog([10.0], [60.0], pmra=[1000.0], pmdec=[-500.0], ref_epoch=[2016.0])
    east = -16 * 1.0 * ARCSEC / np.cos(np.radians(60))
    there = {"ra": [10.0 + east], "dec": [60.0 + 8 * ARCSEC]}
    found, rows = matched(table, pa.table({**there, "ref_epoch": [2000.0]}))
    assert rows["known"] == [True]
    assert rows["known_sep"][0] < 0.01
    found, rows = matched(table, pa.table(there))
    assert rows["known"] == [False]
    assert "without a 'ref_epoch'" in found.motion


def test_wrong_astrometry_is_a_caution():
    ra = np.arange(30.0)
    found, _ = matched(catalog(ra, ra * 0), spectra(ra + 0.5 * ARCSEC, ra * 0))
    assert "0.50 arcsec east" in found.cautions[0]
    assert matched(catalog(ra, ra * 0), spectra(ra, ra * 0))[0].cautions == []


def test_a_file_of_another_part_of_the_sky_is_a_caution():
    found, _ = matched(catalog([10.0], [0.0]), spectra([200.0], [40.0]))
    assert "none of the 1 spectrum" in found.cautions[0]


def test_a_column_of_the_catalogs_own_is_not_overwritten():
    with pytest.raises(CatalogError, match="has a column 'known' of its own"):
        matched(catalog([10.0], [0.0], known=[True]), spectra([10.0], [0.0]))


def test_several_files_are_matched_together_and_counted_apart():
    table = catalog([1.0, 2.0, 3.0], [0.0] * 3)
    found, rows = matched(table, spectra([1, 9], [0, 0]), spectra([1, 3], [0, 0]))
    assert rows["known"] == [True, False, True]
    assert [each.n_unmatched for each in found.files] == [1, 0]


@pytest.mark.parametrize("ending", ["parquet", "fits", "ecsv", "vot", "csv"])
def test_every_format_of_catalogs_is_read(tmp_path, ending):
    from astropy.table import Table

    path = tmp_path / f"spectra.{ending}"
    table = spectra([1.0], [0.0], z=[0.25], ZWARN=[0])
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        formats = {"vot": "votable", "csv": "ascii.csv", "ecsv": "ascii.ecsv"}
        Table(table.to_pydict()).write(path, format=formats.get(ending))
    found, rows = matched(catalog([1.0], [0.0]), path)
    assert rows["known_redshift"] == [0.25]
    assert len(found.files[0].sha256) == 64


def test_matches_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(1)
    n = 400
    ra, dec = rng.uniform(10, 10.01, n), rng.uniform(0, 0.01, n)
    table = catalog(ra, dec)
    file = spectra(
        ra[::-1] + rng.normal(0, 0.6 * ARCSEC, n),
        dec[::-1] + rng.normal(0, 0.6 * ARCSEC, n),
        z=rng.uniform(0, 1, n),
        zwarn=rng.integers(0, 2, n),
    )
    found, first = matched(table, file)
    order = rng.permutation(n)
    again, second = matched(table.take(pa.array(order)), file.take(pa.array(rng.permutation(n))))
    assert found == again
    assert 100 < found.n_known < n
    for name in ("known", "known_redshift", "known_sep", "known_warning"):
        assert [first[name][k] for k in order] == second[name]


def test_spectra_without_success_do_not_make_a_source_known():
    file = spectra([1, 2, 3], [0] * 3, redshift=[0.1, 0.2, 0.3], success=[True, False, None])
    found, rows = matched(catalog([1.0, 2.0, 3.0], [0.0] * 3), file)
    assert rows["known"] == [True, False, False]
    assert found.files[0].n_failed == 2
