"""Files of spectra as archives, spreadsheets and other tools really write them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from targetsel.errors import SpectrumError
from targetsel.spectra.lines import LineTable
from targetsel.spectra.lines.strengths import measure_files, strengths_table
from targetsel.spectra.reading import attempts, read_spectra, results_table, try_spectra
from targetsel.tables.parquet import described

WAVELENGTH = np.linspace(3800, 9200, 500)
FLUX = np.linspace(1, 2, 500)
OBJID = 1237648720142401611  # of SDSS; floats have 1237648720142401536 for it


def csv_file(tmp_path, ids=None, name="one.csv", **changes):
    columns = {"wavelength": WAVELENGTH, "flux": FLUX, "ivar": np.ones(500), "z": [0.1] * 500}
    if ids is not None:
        columns["source_id"] = [ids] * 500 if isinstance(ids, str) else ids
    columns |= changes
    rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path = tmp_path / name
    path.write_text(",".join(columns) + "\n" + "\n".join(rows) + "\n")
    return path


def store(tmp_path, n=3, schema=None, **changes):
    """A Parquet file with a spectrum in each row."""
    columns = {
        "wavelength": [WAVELENGTH] * n,
        "flux": [FLUX] * n,
        "ivar": [np.ones(500)] * n,
        "redshift": [0.1] * n,
    }
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table(columns | changes, schema=schema), path)
    return path


def npz(tmp_path, **changes):
    path = tmp_path / "s.npz"
    same = {"wavelength": WAVELENGTH, "flux": np.tile(FLUX, (2, 1)), "ivar": np.ones((2, 500))}
    np.savez(path, **(same | {"redshift": np.full(2, 0.1)} | changes))
    return path


def refusal(path):
    with pytest.raises(SpectrumError) as caught:
        read_spectra(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def spectra_and_errors(path):
    return [str(each) if isinstance(each, SpectrumError) else each for each in try_spectra(path)]


# --- ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "source_id"),
    [
        (str(OBJID), OBJID),
        ("J1000+0212", "J1000+0212"),
        ("00123", "00123"),
        ("12.0", 12),
        ("-7", -7),
        ("12345678901234567890123", "12345678901234567890123"),
        ("b'J1000'", "J1000"),
        (" 12 ", 12),
    ],
)
def test_id_of_a_csv_file_is_the_one_that_is_written(written, source_id, tmp_path):
    (spectrum,) = read_spectra(csv_file(tmp_path, written))
    assert spectrum.source_id == source_id
    assert isinstance(spectrum.source_id, type(source_id))


def test_id_that_a_csv_file_has_lost_digits_of_is_refused(tmp_path):
    message = refusal(csv_file(tmp_path, "1237648720142401536.0"))
    assert ", column 'source_id': ids are floats" in message
    assert message.endswith("Store the ids as int64 or text.")


IDS = pa.array([OBJID, 7, OBJID + 4])


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (IDS, [OBJID, 7, OBJID + 4]),
        (IDS.cast(pa.uint64()), [OBJID, 7, OBJID + 4]),
        (IDS.cast(pa.decimal128(38, 0)), [OBJID, 7, OBJID + 4]),
        (IDS.dictionary_encode(), [OBJID, 7, OBJID + 4]),
        (IDS.cast(pa.string()), [str(OBJID), "7", str(OBJID + 4)]),
        (IDS.cast(pa.string()).cast(pa.string_view()), [str(OBJID), "7", str(OBJID + 4)]),
        (pa.array([b"a ", b"b\0", b"c"]), ["a", "b", "c"]),
        (pa.array(["b'a'", "b'b'", "b'c'"]), ["a", "b", "c"]),
        (pa.array([1.0, 2.0, 3.0]), [1, 2, 3]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_ids_of_a_store_are_exact_whatever_they_are_kept_in(ids, expected, tmp_path):
    spectra = read_spectra(store(tmp_path, source_id=ids))
    assert [each.source_id for each in spectra] == expected


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.array([OBJID, 7]), [OBJID, 7]),
        (np.array([OBJID, 7]).astype(">i8"), [OBJID, 7]),
        (np.array([OBJID, 7], np.uint64), [OBJID, 7]),
        (np.array([b"a", b"b "]), ["a", "b"]),
        (np.array(["a", "012"]), ["a", "012"]),
    ],
    ids=str,
)
def test_ids_of_an_npz_file_are_exact(ids, expected, tmp_path):
    assert [each.source_id for each in read_spectra(npz(tmp_path, source_id=ids))] == expected


def test_spectrum_without_an_id_is_null_says_its_row_and_rounds_no_other(tmp_path):
    path = store(tmp_path, source_id=pa.array([OBJID, None, OBJID + 4]))
    table = results_table(attempts([path], lambda each: each), (), lambda each: {})
    assert table["source_id"].to_pylist() == [OBJID, None, OBJID + 4]
    assert table["status"].to_pylist() == [
        "ok", f"{path}, row 1: 'source_id' is missing. Give it an id.", "ok",
    ]  # fmt: skip


def test_spectrum_that_cannot_be_used_keeps_its_id(tmp_path):
    path = store(tmp_path, source_id=IDS, ivar=[np.ones(500), np.zeros(500), np.ones(500)])
    table = results_table(attempts([path], lambda each: each), (), lambda each: {})
    assert table["source_id"].to_pylist() == [OBJID, 7, OBJID + 4]
    assert table["status"][1].as_py().startswith(f"{path}, row 1: every pixel is masked")


def test_one_id_for_many_spectra_is_refused(tmp_path):
    assert refusal(npz(tmp_path, source_id=np.array([7]))) == (
        ": 'source_id' is one for 2 spectra; expected one for each"
    )


# --- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": [7] * 499 + [8]}, ": 'source_id' is 7 and 8, but all rows must be of one spect"),
        ({"z": [0.1] * 499 + [0.2]}, ": 'z' is 0.1 and 0.2, but all rows must be of one spectrum"),
        ({"flux": ["abc"] * 500}, ", row 1: 'flux' is 'abc', expected a number"),
        ({"flux": ["1_0"] * 500}, ", row 1: 'flux' is '1_0', expected a number"),
        ({"flux": ["1,5"] * 500}, ", row 1: has 5 values; expected 4, one for each column"),
        ({"ids": [""] * 500}, ": 'source_id' is missing. Give it an id."),
    ],
)
def test_csv_file_that_holds_no_single_spectrum_is_refused(changes, message, tmp_path):
    assert refusal(csv_file(tmp_path, **changes)).startswith(message)


def test_csv_file_of_a_spreadsheet_is_read(tmp_path):
    path = csv_file(tmp_path, "a")
    text = path.read_text().replace("\n", "\r\n").replace("flux", ' "Flux" ', 1)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n# the end\r\n")
    (spectrum,) = read_spectra(path)
    np.testing.assert_allclose(spectrum.flux, FLUX)


def test_csv_file_in_another_encoding_is_refused(tmp_path):
    path = csv_file(tmp_path, "a")
    path.write_bytes(path.read_bytes() + b"# \xc5\n")
    assert refusal(path).startswith(": not a CSV file, or damaged or cut short ('utf-8' codec")


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, lambda t: pa.list_(t, 500)])
@pytest.mark.parametrize("of", [pa.float32(), pa.float64()], ids=str)
def test_lists_of_every_kind_hold_spectra(kind, of, tmp_path):
    flux = pa.array([FLUX, 2 * FLUX, 3 * FLUX], pa.list_(of)).cast(kind(of))
    spectra = read_spectra(store(tmp_path, flux=flux))
    for k, spectrum in enumerate(spectra, 1):
        np.testing.assert_allclose(spectrum.flux, k * FLUX, rtol=1e-6)


def test_parquet_with_a_row_for_each_pixel_holds_one_spectrum(tmp_path):
    columns = {"wavelength": WAVELENGTH, "flux": FLUX, "ivar": np.ones(500), "z": [0.1] * 500}
    path = tmp_path / "flat.parquet"
    pq.write_table(pa.table(columns | {"id": [OBJID] * 500}), path)
    (spectrum,) = read_spectra(path)
    assert (spectrum.source_id, len(spectrum.flux)) == (OBJID, 500)
    pq.write_table(pa.table(columns | {"id": [7] * 300 + [8] * 200}), path)
    assert refusal(path).startswith(": 'id' is 7 and 8, but all rows must be of one spectrum.")


@pytest.mark.parametrize("name", ["wavelength", "ivar", "z", "id", "ra"])
@pytest.mark.parametrize(
    ("value", "held"),
    [([1.0, 2.0], "lists of numbers"), ({"a": 1.0}, "values of type struct<a: double>")],
)
def test_lists_beside_one_flux_a_row_are_refused(name, value, held, tmp_path):
    columns = {"wavelength": WAVELENGTH, "flux": FLUX, "ivar": np.ones(500), "z": [0.1] * 500}
    pq.write_table(pa.table(columns | {name: [value] * 500}), tmp_path / "flat.parquet")
    assert refusal(tmp_path / "flat.parquet").startswith(
        f": '{name}' holds {held}, and 'flux' one value in each row."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flux": [FLUX, None, FLUX]}, "flux has shape (0,), but wavelength has shape (500,)"),
        ({"wavelength": [WAVELENGTH, [], WAVELENGTH]}, "has 0 pixels; expected at least 2"),
        (
            {"wavelength": [WAVELENGTH, WAVELENGTH[::-1], WAVELENGTH]},
            "wavelengths do not increase: 9200 is followed by",
        ),
        (
            {"wavelength": [WAVELENGTH, np.where(FLUX < 1.1, np.nan, WAVELENGTH), WAVELENGTH]},
            "wavelength is NaN in 50 pixels. Remove them",
        ),
        ({"wavelength": [WAVELENGTH, WAVELENGTH / 1e4, WAVELENGTH]}, "wavelengths run from 0.38"),
        ({"redshift": [0.1, None, 0.1]}, "redshift is nan, expected a number. Give --redshift."),
        ({"redshift": pa.array([0, None, 0])}, "redshift is nan, expected a number."),
        ({"flux": [FLUX, [*FLUX[:-1], None], FLUX]}, "flux is nan in 1 unmasked pixels"),
    ],
)  # fmt: skip
def test_trouble_of_one_spectrum_leaves_the_others_alone(changes, message, tmp_path):
    path = store(tmp_path, **changes)
    first, bad, last = spectra_and_errors(path)
    assert bad.startswith(f"{path}, row 1: {message}")
    for spectrum in (first, last):
        np.testing.assert_array_equal(spectrum.flux, FLUX)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"redshift": [[0.1]] * 3}, ": 'redshift' holds lists, expected one value for each spec"),
        ({"source_id": [[1]] * 3}, ": 'source_id' holds lists, expected one value for each"),
        ({"flux": [["a"] * 500] * 3}, ": not a file whose column 'flux' holds lists of numbers"),
        ({"source_id": pa.array([1.5, 2, 3])}, ", column 'source_id': ids are floats (double)"),
    ],
)
def test_columns_of_another_kind_are_refused(changes, message, tmp_path):
    assert refusal(store(tmp_path, **changes)).startswith(message)


def test_column_twice_is_refused(tmp_path):
    path = store(tmp_path)
    table = pq.read_table(path)
    pq.write_table(table.append_column("flux", table["ivar"]), path)
    assert refusal(path) == ": has several columns 'flux'. Rename or drop one."


def test_rows_after_the_first_piece_are_their_own(tmp_path):
    n = 600
    flux = [FLUX * (k + 1) for k in range(n)]
    for k, spectrum in enumerate(read_spectra(store(tmp_path, n, flux=flux))):
        assert spectrum.flux[0] == k + 1


def test_folder_and_missing_file_are_refused(tmp_path):
    assert refusal(tmp_path) == ": is a folder. Name the files in it."
    missing = ": no such file or folder. Check the name and the folder."
    assert refusal(tmp_path / "none.npz") == missing


@pytest.mark.parametrize("name", ["status", "ra", "ew_oi_err"])
def test_index_with_the_name_of_another_column_is_refused(name, tmp_path):
    lines = tmp_path / "mine.yaml"
    lines.write_text(
        f"schema: targetsel/lines/v1\nlines:\n- {{name: {name}, kind: break, medium: air, "
        "blue: [4300, 4400], red: [4450, 4500]}\n"
    )
    table = LineTable.read(lines)
    with pytest.raises(SpectrumError, match=f"two columns .* the name '{name}'. Rename the index"):
        strengths_table(measure_files([store(tmp_path, 1)], table), table)


# --- units ---------------------------------------------------------------------------------------


def with_units(tmp_path, scale=1.0, noise="ivar", about="", value=4.0, **given):
    kind = pa.list_(pa.float64())
    schema = pa.schema(
        [
            described("wavelength", kind, given.get("wavelength", ""), description=about),
            described("flux", kind, given.get("flux", "")),
            described(noise, kind, given.get(noise, "")),
            described("redshift", pa.float64()),
        ]
    )
    columns = [[WAVELENGTH * scale], [FLUX], [np.full(500, value)], [0.1]]
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "u.parquet")
    return tmp_path / "u.parquet"


@pytest.mark.parametrize(
    ("unit", "scale"), [("nm", 0.1), ("um", 1e-4), ("micron", 1e-4), ("Angstrom", 1), ("AA", 1),
                        ("m", 1e-10), ("0.1 nm", 1), ("", 1)]
)  # fmt: skip
def test_wavelengths_are_converted_from_the_unit_of_their_column(unit, scale, tmp_path):
    (spectrum,) = read_spectra(with_units(tmp_path, scale, wavelength=unit))
    np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH)


CGS = "1e-17 erg / (s cm2 Angstrom)"


@pytest.mark.parametrize(
    ("noise", "value", "unit", "ivar"),
    [
        ("ivar", 4.0, "", 4.0),
        ("ivar", 4.0, "1e34 s2 cm4 Angstrom2 / erg2", 4.0),
        ("ivar", 4e34, "s2 cm4 Angstrom2 / erg2", 4.0),
        ("error", 4.0, CGS, 1 / 16),
        ("error", 4e-17, "erg / (s cm2 Angstrom)", 1 / 16),
    ],
)
def test_noise_is_brought_to_the_unit_of_the_flux(noise, value, unit, ivar, tmp_path):
    path = with_units(tmp_path, noise=noise, value=value, flux=CGS, **{noise: unit})
    (spectrum,) = read_spectra(path)
    np.testing.assert_allclose(spectrum.ivar, ivar)


@pytest.mark.parametrize(
    ("noise", "units", "message"),
    [
        ("ivar", {"flux": "Jy"}, ": flux unit is 'Jy', expected flux density per unit wavelength"),
        ("ivar", {"wavelength": "Hz"}, ": wavelength unit is 'Hz', expected a length such as"),
        ("ivar", {"wavelength": "furlongs"}, ": wavelength unit is 'furlongs', expected a length"),
        (
            "ivar",
            {"flux": CGS, "ivar": CGS},
            f": 'ivar' is in '{CGS}', but flux is in '{CGS}'; expected its inverse square. Name",
        ),
        (
            "error",
            {"flux": CGS, "error": "1e34 s2 cm4 Angstrom2 / erg2"},
            ": 'error' is in '1e34 s2 cm4 Angstrom2 / erg2', but flux is in",
        ),
        ("error", {"flux": CGS, "error": "mag"}, ": 'error' is in 'mag', but flux is in"),
    ],
)
def test_units_that_cannot_be_meant_are_refused(noise, units, message, tmp_path):
    assert refusal(with_units(tmp_path, noise=noise, **units)).startswith(message)


def test_wavelengths_that_are_described_as_in_air_are_refused(tmp_path):
    message = refusal(with_units(tmp_path, about="Wavelength in air"))
    assert message.startswith(": wavelengths are in air (column 'wavelength': wavelength in air)")
    assert read_spectra(with_units(tmp_path, about="vacuum, converted from air"))


# --- FITS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("NAXIS2", -180, ", extension 1: NAXIS2 is -180; expected a whole number of 0 or more"),
        ("NAXIS2", 10**9, ", extension 1: its header tells of"),
        ("TFIELDS", 10**6, ", extension 1: TFIELDS is 1000000; expected at most 999."),
        ("TFORM1", "9Q7", ", extension 1: "),
    ],
)
def test_spec_file_with_a_wrong_header_is_refused(keyword, value, message, write_sdss):
    path = write_sdss()
    with fits.open(path) as hdus:
        old = bytes(hdus[1].header.tostring(), "ascii")
        card = fits.Card(keyword, value).image.encode()
        start = old.index(keyword.ljust(8).encode())
    data = path.read_bytes()
    path.write_bytes(data.replace(old[start : start + 80], card, 1))
    assert refusal(path).startswith(message)


def test_compressed_spec_file_is_read(write_sdss):
    path = write_sdss("spec-1-2-3.fits.gz")
    (spectrum,) = read_spectra(path)
    assert spectrum.source_id == "spec-1-2-3"


def test_position_of_a_spec_file_is_that_of_its_fiber(write_sdss):
    header = [("RA", 10.0), ("DEC", 5.0), ("PLUG_RA", 150.5), ("PLUG_DEC", -2.25)]
    (spectrum,) = read_spectra(write_sdss(header=header))
    assert spectrum.position == (150.5, -2.25)


# --- masks, logarithms, and values that stand for none -------------------------------------------

BAD = np.arange(500) < 9


@pytest.mark.parametrize(
    "make",
    [
        lambda path: csv_file(path, mask=BAD.astype(int)),
        lambda path: csv_file(path, mask=BAD),
        lambda path: npz(path, mask=BAD),
        lambda path: npz(path, mask=np.tile(BAD, (2, 1)) * 4),
        lambda path: store(path, mask=[BAD] * 3),
        lambda path: store(path, mask=[BAD * 2**31] * 3),
    ],
    ids=["csv", "csv of words", "npz of all", "npz of each", "parquet", "parquet of bits"],
)
def test_pixels_that_a_mask_tells_of_are_not_used(make, tmp_path):
    for spectrum in read_spectra(make(tmp_path)):
        np.testing.assert_array_equal(spectrum.mask, BAD)


def test_mask_of_another_length_is_refused(tmp_path):
    assert refusal(npz(tmp_path, mask=BAD[:-1])).startswith(
        ", row 0: 'mask' has shape (499,), but 'ivar' (500,); expected one value for each pixel"
    )


@pytest.mark.parametrize(
    ("logarithm", "hint"),
    [
        (np.log(WAVELENGTH), "These look like natural logarithms; divide them by 2.302585."),
        (WAVELENGTH, "These look like Angstrom; name the column 'wavelength'."),
        (WAVELENGTH * 1e9, "expected log10 of Angstrom in vacuum."),
        (np.full(500, np.nan), "expected log10 of Angstrom in vacuum."),
    ],
)
def test_logarithms_of_another_kind_are_refused(logarithm, hint, tmp_path, write_sdss):
    values = {"loglam": logarithm, "flux": FLUX, "ivar": np.ones(500), "z": 0.1}
    np.savez(tmp_path / "l.npz", **values)
    message = refusal(tmp_path / "l.npz")
    assert message.startswith(": 'loglam' runs from ")
    assert message.endswith(hint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "wavelength;flux;ivar;z\n4000;1;1;0.1\n",
            ": its columns are not separated by commas: the",
        ),
        ("wavelength\tflux\tivar\tz\n4000\t1\t1\t0\n", ": its columns are not separated by commas"),
        ("4000 1.5 1\n4001 1 1\n", ": its columns are not separated by commas: the first line is"),
        (
            "# wavelength,flux,ivar\n4000,1e0,1\n",
            ": its first line holds numbers (4000, 1e0, 1), ex",
        ),
    ],
)
def test_text_that_is_no_table_with_commas_is_refused(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    assert refusal(tmp_path / "t.csv").startswith(message)


@pytest.mark.parametrize("redshift", [-9999.0, -0.3, 99.0])
def test_redshift_that_no_galaxy_has_is_refused_where_it_is_needed(redshift, tmp_path):
    (spectrum,) = read_spectra(csv_file(tmp_path, z=[redshift] * 500))
    with pytest.raises(SpectrumError, match=f"redshift is {redshift:g}, expected -0.05 to 20. Gi"):
        spectrum.at_rest()


def test_flux_and_inverse_variance_in_different_units_are_refused(tmp_path):
    assert refusal(csv_file(tmp_path, flux=FLUX * 1e-17)).startswith(
        ": flux is at most 2e-17 of its error, in the best pixel. Give both in one unit."
    )
    (spectrum,) = read_spectra(csv_file(tmp_path, flux=FLUX * 1e-17, ivar=np.full(500, 1e34)))
    assert spectrum.flux[0] == 1e-17
