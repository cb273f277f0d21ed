import numpy as np
import pyarrow as pa
import pytest

from targetsel.surveys.archives import FluxColumn, FluxScale, PlainColumn, SurveyColumns
from targetsel.surveys.http import Damaged

MAGNITUDES = SurveyColumns(
    (
        PlainColumn("objID", "source_id", pa.int64()),
        PlainColumn("raMean", "ra", pa.float64(), "deg"),
        FluxColumn("rMag", "rMagErr", "flux_r_ps1", FluxScale.MAGNITUDE),
    )
)
NANOMAGGIES = SurveyColumns(
    (FluxColumn("flux_r", "flux_ivar_r", "flux_r_ls", FluxScale.NANOMAGGY),)
)


def magnitudes(*values, error=0.1):
    n = len(values)
    return pa.table(
        {"objID": range(n), "raMean": [1.0] * n, "rMag": values, "rMagErr": [error] * n}
    )


def test_magnitude_23_9_is_a_microjansky():
    flux = MAGNITUDES.renamed(magnitudes(23.9))["flux_r_ps1"]
    assert flux.to_pylist() == pytest.approx([1000.0])


def test_magnitude_error_of_a_tenth_is_nine_percent_of_the_flux():
    table = MAGNITUDES.renamed(magnitudes(23.9, error=0.1))
    assert table["flux_r_ps1_err"].to_pylist() == pytest.approx([1000 * 0.1 * np.log(10) / 2.5])


@pytest.mark.parametrize("missing", [-999.0, 99.0, float("nan"), None])
def test_magnitude_that_was_not_measured_is_null(missing):
    table = MAGNITUDES.renamed(magnitudes(20.0, missing))
    assert table["flux_r_ps1"].to_pylist()[1] is None
    assert table["flux_r_ps1_err"].to_pylist()[1] is None


def test_nanomaggy_with_inverse_variance_of_four_is_3631_with_half_of_it():
    table = NANOMAGGIES.renamed(pa.table({"flux_r": [1.0], "flux_ivar_r": [4.0]}))
    assert table["flux_r_ls"].to_pylist() == pytest.approx([3630.78], rel=1e-5)
    assert table["flux_r_ls_err"].to_pylist() == pytest.approx([3630.78 / 2], rel=1e-5)


def test_flux_without_inverse_variance_is_null_not_zero():
    table = NANOMAGGIES.renamed(pa.table({"flux_r": [0.0], "flux_ivar_r": [0.0]}))
    assert table["flux_r_ls"].to_pylist() == [None]


def test_negative_right_ascension_is_brought_to_the_usual_range():
    rows = magnitudes(20.0).set_column(1, "raMean", [[-0.25]])
    assert MAGNITUDES.renamed(rows)["ra"].to_pylist() == [359.75]


def test_ids_keep_all_their_digits():
    rows = magnitudes(20.0).set_column(0, "objID", [[2**60 + 1]])
    assert MAGNITUDES.renamed(rows)["source_id"].to_pylist() == [2**60 + 1]


def test_column_left_out_by_the_archive_is_damage():
    with pytest.raises(Damaged, match="columns rMagErr are missing from the answer"):
        MAGNITUDES.renamed(magnitudes(20.0).drop_columns("rMagErr"))


def test_text_in_place_of_numbers_is_damage():
    rows = magnitudes(20.0).set_column(2, "rMag", [["<b>error</b>"]])
    with pytest.raises(Damaged, match="text where numbers were expected"):
        MAGNITUDES.renamed(rows)


def test_columns_we_do_not_know_pass_with_their_units():
    speed = pa.field("speed", pa.float64(), metadata={"unit": "km/s"})
    rows = magnitudes(20.0).append_column(speed, [[3.0]])
    table = MAGNITUDES.recognised(rows)
    assert table.schema.field("speed").metadata == {b"unit": b"km/s"}
    assert "flux_r_ps1" in table.column_names
    assert "speed" not in MAGNITUDES.renamed(rows).column_names


def test_columns_are_known_in_any_case():
    rows = magnitudes(20.0).rename_columns(["OBJID", "ramean", "rmag", "RMAGERR"])
    assert MAGNITUDES.renamed(rows).column_names == MAGNITUDES.schema.names
