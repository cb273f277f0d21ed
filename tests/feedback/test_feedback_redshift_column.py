"""Tables of redshifts as surveys write them, and numbers that are no redshifts."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table

import targetsel as ts
from targetsel.errors import CatalogError
from targetsel.feedback.observed import ObservedTargets
from tests.feedback.observed_by_hand import emitters, write_spectra

IDS = np.arange(101, 181)
REDSHIFT = np.linspace(0.1, 0.3, 80)


@pytest.mark.parametrize("ending", ["fits", "csv", "ecsv", "vot"])
def test_a_table_like_redrocks_serves_as_it_is(tmp_path, ending):
    masked = np.arange(80) < 10
    columns = {
        "TARGETID": IDS.astype(">i8"),
        "Z": MaskedColumn(REDSHIFT.astype(">f8"), mask=masked),
        "ZWARN": np.where(np.arange(80) < 20, 4, 0).astype(">i4"),
    }
    path = tmp_path / f"zcatalog.{ending}"
    table = Table(columns)
    table.write(path, **({"format": "votable"} if ending == "vot" else {}))
    observed = ObservedTargets.read(emitters(), path)
    assert observed.success.tolist() == [False] * 20 + [True] * 60
    assert observed.measured["photoz"][20:] == pytest.approx(REDSHIFT[20:])


@pytest.mark.parametrize("name", ["Z", "z", "z_spec", "ZSPEC", "zred", "specz"])
def test_redshifts_are_found_under_usual_names(tmp_path, name):
    path = tmp_path / "spectra.parquet"
    pq.write_table(pa.table({"SOURCE_ID": IDS, name: REDSHIFT}), path)
    observed = ObservedTargets.read(emitters(), path)
    assert observed.measured["photoz"] == pytest.approx(REDSHIFT)


def test_z_beside_g_r_and_i_is_a_band(tmp_path):
    path = tmp_path / "spectra.parquet"
    bands = {name: np.full(80, 20.5) for name in "griz"}
    pq.write_table(pa.table({"source_id": IDS, **bands}), path)
    with pytest.raises(CatalogError, match=r"Measure the spectra|encode or measure"):
        ts.outcomes(emitters(), truth=path)


def test_redshift_counts_before_other_names(tmp_path):
    path = write_spectra(tmp_path, IDS, REDSHIFT, z=REDSHIFT + 1)
    observed = ObservedTargets.read(emitters(), path)
    assert observed.measured["photoz"] == pytest.approx(REDSHIFT)


def test_errors_name_the_table_and_not_its_copy(tmp_path):
    path = tmp_path / "mine.parquet"
    table = pa.table({"source_id": IDS, "Z": REDSHIFT, "success": ["maybe"] * 80})
    pq.write_table(table, path)
    with pytest.raises(CatalogError, match="expected true or false") as caught:
        ts.outcomes(emitters(), truth=path)
    assert str(path) in str(caught.value)
    pq.write_table(pa.concat_tables([table, table]), path)
    with pytest.raises(CatalogError, match="repeated") as caught:
        ts.outcomes(emitters(), truth=path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("factor", [3e5, 1000.0])
def test_velocities_are_no_redshifts(tmp_path, factor):
    path = write_spectra(tmp_path, IDS, REDSHIFT * factor)
    with pytest.raises(CatalogError, match=r"expected redshifts.*or convert velocities"):
        ts.outcomes(emitters(), truth=path)


def test_redshifts_in_a_unit_are_refused(tmp_path):
    field = pa.field("redshift", pa.float64(), metadata={"unit": "km/s"})
    path = tmp_path / "spectra.parquet"
    pq.write_table(pa.table([IDS, REDSHIFT], schema=pa.schema([("source_id", pa.int64()), field])),
                   path)  # fmt: skip
    with pytest.raises(CatalogError, match="expected redshifts without a unit"):
        ts.outcomes(emitters(), truth=path)


def test_a_number_that_stands_for_no_redshift_is_a_failure(tmp_path):
    redshift = np.where(IDS < 141, 9999.0, REDSHIFT)
    observed = ObservedTargets.read(emitters(), write_spectra(tmp_path, IDS, redshift))
    assert observed.success.sum() == 40


@pytest.mark.parametrize("name", ["NQ", "ZQUALITY", "quality", "Q"])
def test_a_quality_below_three_is_a_failure(tmp_path, name):
    quality = np.where(IDS < 121, 2, 4)
    path = write_spectra(tmp_path, IDS, **{name: quality})
    assert ObservedTargets.read(emitters(), path).success.tolist() == [False] * 20 + [True] * 60


@pytest.mark.parametrize("values", [np.linspace(0, 1, 80), np.full(80, 90.0), np.full(80, np.nan)])
def test_a_column_of_other_qualities_is_passed_over(tmp_path, values):
    path = write_spectra(tmp_path, IDS, quality=values)
    assert ObservedTargets.read(emitters(), path).success.all()


def test_a_table_of_names_alone_has_no_rows(tmp_path):
    path = tmp_path / "spectra.csv"
    path.write_text("source_id,redshift\n")
    with pytest.raises(CatalogError, match="has no rows; expected one for each spectrum"):
        ts.outcomes(emitters(), truth=path)


def test_lines_in_upper_case_are_lines(tmp_path):
    strong = np.where(np.arange(80) < 60, 30.0, 3.0)
    columns = {"SOURCE_ID": IDS, "REDSHIFT": REDSHIFT, "EW_HALPHA": strong.astype(">f4")}
    path = tmp_path / "lines.fits"
    Table(columns).write(path)
    observed = ObservedTargets.read(emitters(), path)
    assert observed.measured["ew_halpha"] == pytest.approx(strong)
    assert not observed.untested


def test_a_line_in_lower_case_counts_before_one_in_upper_case(tmp_path):
    path = tmp_path / "lines.parquet"
    two = {"ew_halpha": np.full(80, 30.0), "EW_HALPHA": np.full(80, 3.0)}
    pq.write_table(pa.table({"source_id": IDS, **two}), path)
    assert ObservedTargets.read(emitters(), path).measured["ew_halpha"] == pytest.approx(30)
