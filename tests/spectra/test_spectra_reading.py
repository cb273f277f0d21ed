import contextlib
import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import SpectrumError, TargetselError
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.spectra.reading import read_spectra, try_spectra
from targetsel.tables.parquet import described, write_table

WAVELENGTH = np.linspace(3800, 9200, 500)
GOOD = {
    "wavelength": WAVELENGTH,
    "flux": np.linspace(1, 2, 500),
    "ivar": np.ones(500),
    "redshift": np.float64(0.1),
}


def refusal(path, **options):
    """The one line with which a file is refused."""
    with pytest.raises(SpectrumError) as caught:
        read_spectra(path, **options)
    assert isinstance(caught.value, TargetselError)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def npz(tmp_path, **changes):
    path = tmp_path / "spectra.npz"
    np.savez(path, **{k: v for k, v in (GOOD | changes).items() if v is not None})
    return path


def with_value(values, at, value):
    values = np.array(values, dtype=float)
    values[at] = value
    return values


# ---------------------------------------------------------------- SDSS files


def test_spec_file_gives_vacuum_angstrom_flux_ivar_and_redshift(write_sdss):
    (spectrum,) = read_spectra(write_sdss("spec-0266-51602-0107.fits"))
    assert spectrum.source_id == "spec-0266-51602-0107"
    assert spectrum.redshift == pytest.approx(0.1)
    assert spectrum.wavelength[0] == pytest.approx(3801.894, abs=1e-3)
    assert (spectrum.ivar == 9).all()
    assert not spectrum.mask.any()


def test_column_names_in_capitals_are_read(write_sdss):
    small = write_sdss("small.fits")
    with fits.open(small) as hdus:
        hdus[1].columns.change_name("flux", "FLUX")
        hdus[1].columns.change_name("loglam", "LOGLAM")
        hdus.writeto(small.with_name("capitals.fits"))
    capitals = small.with_name("capitals.fits")
    assert read_spectra(capitals)[0].flux.tolist() == read_spectra(small)[0].flux.tolist()


def test_given_redshift_wins_over_the_files(write_sdss):
    assert read_spectra(write_sdss(), redshift=0.2)[0].redshift == 0.2


def test_redshift_comes_from_the_header_where_there_is_no_specobj(write_sdss):
    path = write_sdss(redshift=None, header=[("Z", 0.07)])
    assert read_spectra(path)[0].redshift == 0.07


def test_spec_file_without_redshift_is_refused(write_sdss):
    message = refusal(write_sdss(redshift=None))
    assert message.startswith(": no redshift: there is no table SPECOBJ with Z")
    assert message.endswith("Give --redshift.")


def test_redshift_nan_is_refused(write_sdss):
    assert refusal(write_sdss(redshift=np.nan)).startswith(": redshift is nan, expected a number")


@pytest.mark.parametrize("header", [("VACUUM", False), ("AIRORVAC", "air"), ("CTYPE1", "AWAV")])
def test_air_wavelengths_in_the_header_are_refused(header, write_sdss):
    message = refusal(write_sdss(header=[header]))
    assert message.startswith(f": wavelengths are in air (header: {header[0]} = ")
    assert "air_to_vacuum" in message


@pytest.mark.parametrize("unit", ["Jy", "1e-23 erg/s/cm2/Hz", "adu", "furlong per fortnight"])
def test_flux_that_is_not_per_unit_wavelength_is_refused(unit, write_sdss):
    message = refusal(write_sdss(unit=unit))
    assert message.startswith(f": flux unit is '{unit}', expected flux density per unit wavelength")


@pytest.mark.parametrize(
    "unit",
    [
        "1E-17 erg/cm^2/s/Ang",
        "10^-17 ergs/s/cm^2/Angs",
        "10^-17 erg/s/cm^2/A",
        "erg / (s cm2 Angstrom)",
        "W m-2 nm-1",
        "",
    ],
)
def test_flux_per_unit_wavelength_is_welcome(unit, write_sdss):
    assert len(read_spectra(write_sdss(unit=unit))) == 1


def test_all_masked_spectrum_is_refused(write_sdss):
    message = refusal(write_sdss(ivar=np.zeros(3846)))
    assert message == ": every pixel is masked (all 3846 have ivar 0; expected some above 0)"


def test_nan_flux_without_a_mask_is_refused(write_sdss):
    flux = with_value(np.ones(3846), slice(10, 13), np.nan)
    message = refusal(write_sdss(flux=flux))
    assert message == (
        ": flux is nan in 3 unmasked pixels, the first at 3810.7 Angstrom. "
        "Set their inverse variance to 0."
    )


def test_nan_flux_under_a_mask_is_welcome(write_sdss):
    flux = with_value(np.ones(3846), slice(10, 13), np.nan)
    ivar = with_value(np.ones(3846), slice(10, 13), 0)
    assert read_spectra(write_sdss(flux=flux, ivar=ivar))[0].mask.sum() == 3


def test_other_fits_file_is_refused(tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.ones((4, 4))).writeto(path)
    assert "no table with columns flux, loglam and ivar" in refusal(path)


def test_truncated_fits_file_is_refused(write_sdss):
    path = write_sdss()
    path.write_bytes(path.read_bytes()[:20_000])
    assert ", extension 1: its header tells of 92304 bytes of data, but the file" in refusal(path)


def test_text_called_fits_is_refused(tmp_path):
    path = tmp_path / "x.fits"
    path.write_text("wavelength,flux\n")
    assert refusal(path) == ": not a FITS file; expected one that begins with SIMPLE."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spectrum.txt", ": ends in '.txt'; expected spectra in .fits, .npz"),
        ("absent.npz", ": no such file"),
        ("absent.fits", ": no such file"),
    ],
)
def test_wrong_or_missing_file_is_refused(name, message, tmp_path):
    if name == "spectrum.txt":
        (tmp_path / name).write_text("1 2 3")
    assert refusal(tmp_path / name).startswith(message)


# ---------------------------------------------------------------- arrays


def test_npz_of_one_spectrum_is_named_by_its_file(tmp_path):
    (spectrum,) = read_spectra(npz(tmp_path))
    assert (spectrum.source_id, spectrum.redshift) == ("spectra", 0.1)
    np.testing.assert_array_equal(spectrum.wavelength, WAVELENGTH)


def test_npz_of_many_spectra_shares_wavelengths_and_has_a_redshift_each(tmp_path):
    flux = np.outer([1, 2, 3], GOOD["flux"])
    path = npz(
        tmp_path,
        flux=flux,
        ivar=np.ones_like(flux),
        redshift=np.array([0.1, 0.2, 0.3]),
        source_id=np.array([2**60 + 1, 7, 8]),
    )
    spectra = read_spectra(path)
    assert [s.source_id for s in spectra] == [2**60 + 1, 7, 8]
    assert [s.redshift for s in spectra] == [0.1, 0.2, 0.3]
    np.testing.assert_array_equal(spectra[2].flux, flux[2])


def test_error_becomes_inverse_variance_and_no_error_a_mask(tmp_path):
    error = with_value(np.full(500, 0.5), [3, 4], [0, np.nan])
    (spectrum,) = read_spectra(npz(tmp_path, ivar=None, error=error))
    assert spectrum.ivar[:6].tolist() == [4, 4, 4, 0, 0, 4]


def test_csv_holds_one_spectrum_with_its_redshift_in_a_column(tmp_path):
    path = tmp_path / "galaxy.csv"
    rows = [f"{w},{f},1.0,0.05" for w, f in zip(WAVELENGTH, GOOD["flux"], strict=True)]
    path.write_text("# by hand\nwavelength,flux,ivar,z\n" + "\n".join(rows) + "\n")
    (spectrum,) = read_spectra(path)
    assert (spectrum.source_id, spectrum.redshift) == ("galaxy", 0.05)
    np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH)


@pytest.mark.parametrize("ending", ["parquet", "fits", "fits.gz", "ecsv", "vot"])
@pytest.mark.parametrize("ragged", [False, True])
def test_table_holds_a_spectrum_in_each_row(ragged, ending, tmp_path):
    lengths = (500, 400 if ragged else 500)
    table = pa.table(
        {
            "source_id": ["a", "b"],
            "wavelength": pa.array([WAVELENGTH[:n] for n in lengths]),
            "flux": pa.array([GOOD["flux"][:n] * k for k, n in enumerate(lengths, 1)]),
            "ivar": pa.array([np.ones(n) for n in lengths]),
            "redshift": [0.1, 0.2],
        }
    )
    if ending == "parquet":
        pq.write_table(table, tmp_path / "two.parquet")
    else:
        columns = table.to_pydict()
        for name in ("wavelength", "flux", "ivar"):
            lists = [np.array(each) for each in columns[name]]
            columns[name] = np.array(lists, object) if ragged else np.array(lists)
        Table(columns).write(
            tmp_path / f"two.{ending}", format="votable" if ending == "vot" else None
        )
    spectra = read_spectra(tmp_path / f"two.{ending}")
    assert [(s.source_id, s.redshift, len(s.flux)) for s in spectra] == [
        ("a", 0.1, 500), ("b", 0.2, lengths[1]),
    ]  # fmt: skip
    np.testing.assert_array_equal(spectra[1].flux, 2 * GOOD["flux"][: lengths[1]])


def test_fits_table_holds_spectra_though_its_columns_are_named_as_those_of_sdss(tmp_path):
    flux = np.stack([GOOD["flux"], 2 * GOOD["flux"]])
    table = Table({"loglam": np.log10([WAVELENGTH] * 2), "flux": flux, "ivar": np.ones((2, 500))})
    table["z"] = [0.1, 0.2]
    table.write(tmp_path / "two.fits")
    spectra = read_spectra(tmp_path / "two.fits")
    assert [(each.redshift, len(each.flux)) for each in spectra] == [(0.1, 500), (0.2, 500)]
    np.testing.assert_array_equal(spectra[1].flux, flux[1])


@pytest.mark.parametrize("ending", ["fits", "ecsv", "vot"])
def test_table_with_a_pixel_in_each_row_is_one_spectrum(ending, tmp_path):
    columns = {"wavelength": WAVELENGTH, "flux": GOOD["flux"], "ivar": np.ones(500)}
    write_table(pa.table(columns | {"redshift": np.full(500, 0.3)}), tmp_path / f"one.{ending}")
    (spectrum,) = read_spectra(tmp_path / f"one.{ending}")
    assert (spectrum.source_id, spectrum.redshift) == ("one", 0.3)
    np.testing.assert_array_equal(spectrum.flux, GOOD["flux"])


def test_wavelengths_in_another_declared_unit_are_converted(tmp_path):
    kind = pa.list_(pa.float64())
    schema = pa.schema(
        [
            described("wavelength", kind, unit="nm"),
            described("flux", kind),
            described("ivar", kind),
            described("z", pa.float64()),
        ]
    )
    columns = [[WAVELENGTH / 10], [GOOD["flux"]], [np.ones(500)], [0.1]]
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "nm.parquet")
    np.testing.assert_allclose(read_spectra(tmp_path / "nm.parquet")[0].wavelength, WAVELENGTH)


def test_bad_row_leaves_the_others_alone(tmp_path):
    ivar = np.ones((3, 500))
    ivar[1] = 0
    path = npz(tmp_path, flux=np.tile(GOOD["flux"], (3, 1)), ivar=ivar)
    found = list(try_spectra(path))
    assert isinstance(found[1], SpectrumError)
    assert (
        str(found[1])
        == f"{path}, row 1: every pixel is masked (all 500 have ivar 0; expected some above 0)"
    )
    assert [s.source_id for s in (found[0], found[2])] == ["spectra:0", "spectra:2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"redshift": None}, ": has no 'redshift' or 'z'. Add one, or give --red"),
        ({"ivar": None}, ": no 'ivar'; expected wavelength, flux"),
        ({"flux": GOOD["flux"][:9]}, ": flux has shape (9,), but wavelength has shape (500,)"),
        ({"wavelength": WAVELENGTH[::-1]}, ": wavelengths do not increase: 9200 is followed by 91"),
        (
            {"wavelength": with_value(WAVELENGTH, 100, 4000)},
            ": wavelengths do not increase: 4871.34 is followed by 4000 (pixel 100). Sort the pix",
        ),
        ({"wavelength": with_value(WAVELENGTH, 7, np.nan)}, ": wavelength is NaN in 1 pixel"),
        (
            {"wavelength": WAVELENGTH / 10},
            ": wavelengths run from 380 to 920, expected Angstrom in vacuum. These look like nano",
        ),
        (
            {"wavelength": WAVELENGTH / 1e4},
            ": wavelengths run from 0.38 to 0.92, expected Angstrom in vacuum. These look like mic",
        ),
        (
            {"wavelength": np.log10(WAVELENGTH)},
            ": wavelengths run from 3.57978 to 3.96379, expected Angstrom in vacuum. These look li",
        ),
        (
            {"wavelength": None, "wavelength_air": WAVELENGTH},
            ": wavelengths are in air (column 'wavelength_air'), expected vacuum. Convert them",
        ),
        (
            {"ivar": with_value(np.ones(500), 5, -1)},
            ": inverse variance is -1 at 3854.1 Angstrom, expected a number of at least 0",
        ),
        ({"ivar": with_value(np.ones(500), 5, np.nan)}, ": inverse variance is nan at 3854.1"),
        ({"flux": np.zeros(500)}, ": flux is 0 in every unmasked pixel, so it has no shape"),
        ({"flux": with_value(GOOD["flux"], 0, np.inf)}, ": flux is inf in 1 unmasked pixels"),
        ({"flux": GOOD["flux"] * 1e200}, ": flux reaches 2e+200, expected between 1e-150 and 1e+"),
        ({"flux": GOOD["flux"] * 1e-300}, ": flux reaches 2e-300, expected between"),
        ({"flux": GOOD["flux"] * 1j}, ": 'flux' holds complex128, expected real numbers"),
        ({"flux": np.float64(1)}, ": flux has shape (1,), but wavelength has shape (500,)"),
        ({"flux": np.zeros((0, 500))}, ": has no rows; expected one for each spectrum"),
        ({"redshift": "high"}, ": 'redshift' holds <U4, expected real numbers"),
        ({"redshift": np.zeros(0)}, ": 'redshift' has 0 rows, but 'flux' has 1; expected as many"),
        ({"ivar": np.ones((2, 500))}, ": 'ivar' has 2 rows, but 'flux' has 1; expected as many"),
    ],
)  # fmt: skip
def test_arrays_that_make_no_sense_are_refused(changes, message, tmp_path):
    assert refusal(npz(tmp_path, **changes)).startswith(message)


def test_pickled_arrays_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, flux=np.array([{}], dtype=object))
    assert refusal(path).startswith(
        ": not an .npz file of arrays, or damaged or cut short (Object arrays"
    )


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_damaged_file_is_refused(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    assert refusal(path).startswith(f": not a{'n .npz' if suffix == '.npz' else ' Parquet'} file")


def test_source_id_that_is_nan_is_missing(tmp_path):
    assert refusal(npz(tmp_path, source_id=np.nan)) == ": 'source_id' is missing. Give it an id."


def test_csv_without_rows_holds_no_spectra(tmp_path):
    (tmp_path / "x.csv").write_text("wavelength,flux,ivar,redshift\n")
    assert refusal(tmp_path / "x.csv") == ": has no rows; expected one for each spectrum"


def test_array_that_claims_more_than_any_memory_is_called_damaged(tmp_path):
    path = tmp_path / "huge.npz"
    content = io.BytesIO()
    np.save(content, np.ones(500))
    body = content.getvalue().replace(b"(500,), }          ", b"(5000000000000,), }")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("flux.npy", body)
    assert refusal(path).startswith(
        ": not an .npz file of arrays, or damaged or cut short (flux.npy tells of 4000"
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".fits", ".npz", ".parquet"])
def test_random_damage_never_raises_anything_else(suffix, tmp_path, write_sdss):
    if suffix == ".fits":
        path = write_sdss()
    elif suffix == ".npz":
        path = npz(tmp_path)
    else:
        path = tmp_path / "x.parquet"
        row = {name: [values] for name, values in GOOD.items() if name != "redshift"}
        pq.write_table(pa.table(row | {"redshift": [0.1]}), path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    hot = slice(-900, None) if suffix == ".parquet" else slice(0, 2880 * 5)
    for _ in range(60):
        damaged = bytearray(whole)
        part = damaged[hot]
        for place in rng.integers(len(part), size=4):
            part[place] = rng.integers(32, 127)
        damaged[hot] = part
        path.write_bytes(damaged)
        with contextlib.suppress(SpectrumError):
            read_spectra(path)


# ---------------------------------------------------------------- real ones


def test_ten_real_spectra_are_read_with_their_redshifts(real_spectra):
    spectra = [read_spectra(path)[0] for path in real_spectra]
    assert all(0.03 < s.redshift < 0.15 for s in spectra)
    assert all(3700 < s.wavelength[0] < s.wavelength[-1] < 9300 for s in spectra)


def test_spectra_of_a_long_parquet_file_keep_their_row_numbers(tmp_path):
    path = tmp_path / "spectra.parquet"
    flux = [[1.0, 2.0, 3.0]] * 299 + [[np.nan, 2.0, 3.0]]
    columns = {"wavelength": [[5000.0, 5001.0, 5002.0]] * 300, "flux": flux}
    columns |= {"ivar": [[1.0, 1.0, 1.0]] * 300, "redshift": [0.1] * 300}
    pq.write_table(pa.table(columns), path)
    found = list(try_spectra(path))
    assert len(found) == 300
    assert found[298].source_id == "spectra:298"
    assert "spectra.parquet, row 299: flux is nan" in str(found[299])


def test_spectra_without_wavelength_and_redshift_are_on_the_rest_frame_grid(tmp_path):
    path = tmp_path / "grid.npz"
    flux = np.linspace(1, 2, 2 * N_PIXELS).reshape(2, N_PIXELS)
    np.savez(path, source_id=[7, 8], flux=flux, ivar=np.ones_like(flux))
    first, second = read_spectra(path)
    assert (first.source_id, second.source_id) == (7, 8)
    assert first.redshift == 0
    assert first.wavelength == pytest.approx(wavelengths())
    assert second.flux == pytest.approx(flux[1])
    with pytest.raises(SpectrumError, match="no 'wavelength'"):
        read_spectra(path, redshift=0.1)
    np.savez(path, flux=flux[:, 1:], ivar=np.ones_like(flux[:, 1:]))
    with pytest.raises(SpectrumError, match="no 'wavelength'"):
        read_spectra(path)
