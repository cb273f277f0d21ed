"""Maps from side-band widths to a catalog's convention."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import CatalogError, SpectrumError
from targetsel.mock.emission import COMPONENTS
from targetsel.spectra.lines.width_maps import (
    MOCK_PAIRS,
    WidthMap,
    WidthMaps,
    fit_maps,
    maps_from_table,
    write_calibrated,
)
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import described, read_footer, write_table


def pairs(n=2000, seed=0, scatter=0.3):
    """Raw widths, and what a catalog would have: stronger by a tenth and 2 Angstrom of stars."""
    rng = np.random.default_rng(seed)
    raw = rng.exponential(15, n) - 2
    return raw, 1.1 * raw + 2 + rng.normal(0, scatter, n)


def table_file(path, **columns):
    write_table(pa.table(columns), path)
    return path


def test_linear_relation_is_found_and_goes_on_beyond_the_pairs():
    raw, calibrated = pairs(scatter=0.0)
    found = WidthMap.fit(raw, calibrated)
    np.testing.assert_allclose(found(np.array([-20, 0, 10, 500])), [-20, 2, 13, 552], atol=1e-6)


def test_scatter_of_the_pairs_is_told_and_averaged_over():
    raw, calibrated = pairs(20_000, scatter=2.0)
    found = WidthMap.fit(raw, calibrated)
    assert found.scatter == pytest.approx(2.0, rel=0.05)
    assert found.n_pairs == 20_000
    inside = np.linspace(0, 40, 9)
    np.testing.assert_allclose(found(inside), 1.1 * inside + 2, atol=0.5)


@given(st.integers(0, 2**32 - 1))
def test_map_keeps_every_order_and_its_inverse_undoes_it(seed):
    rng = np.random.default_rng(seed)
    raw = rng.normal(5, 10, 300)
    found = WidthMap.fit(raw, np.cbrt(raw) * 3 + rng.normal(0, 1, 300))
    widths = np.linspace(-60, 60, 200)
    assert (np.diff(found(widths)) > 0).all()
    np.testing.assert_allclose(found.inverse(found(widths)), widths, atol=1e-6)


def test_order_of_the_pairs_does_not_matter_and_nan_pairs_are_left_out():
    raw, calibrated = pairs()
    order = np.random.default_rng(1).permutation(len(raw))
    holes = (np.append(raw, [np.nan, 3.0]), np.append(calibrated, [3.0, np.nan]))
    expected = WidthMap.fit(raw, calibrated)
    assert WidthMap.fit(raw[order], calibrated[order]) == expected
    assert WidthMap.fit(*holes) == expected


def test_nan_widths_stay_nan():
    found = WidthMap.fit(*pairs())
    assert np.isnan(found(np.array([np.nan]))).all()
    assert np.isnan(found.inverse(np.array([np.nan]))).all()


def test_quantiles_go_to_quantiles():
    found, draws = WidthMap.fit(*pairs()), np.random.default_rng(2).normal(10, 4, 10_001)
    assert np.median(found(draws)) == found(np.median(draws))


@pytest.mark.parametrize(
    ("raw", "calibrated", "message"),
    [
        (np.arange(49.0), np.arange(49.0), "a=b: 49 usable pairs; expected at least 50"),
        (np.arange(500.0), -np.arange(500.0), "a=b: the catalog's width does not grow"),
        (np.ones(500), np.arange(500.0), "a=b: the catalog's width does not grow"),
    ],
)
def test_pairs_that_make_no_map_are_refused(raw, calibrated, message):
    with pytest.raises(SpectrumError, match=message):
        fit_maps({"a": raw, "b": calibrated}, {"a": ("b", 1.0)})


def test_mock_pairs_share_doublets_as_the_mock_sky_does():
    for raw, (column, factor) in MOCK_PAIRS.items():
        shares = [share for _, share in COMPONENTS[column.removeprefix("input_")]]
        in_window = max(shares) if raw in ("ew_oiii", "ew_nii") else sum(shares)
        assert factor == pytest.approx(in_window)


def test_maps_that_were_written_are_read_again(tmp_path):
    maps = WidthMaps(
        maps={"ew_halpha": WidthMap.fit(*pairs(), "HALPHA_EW")}, origin={"file": "x.parquet"}
    )
    maps.write(tmp_path / "maps.json")
    assert WidthMaps.read(tmp_path / "maps.json") == maps
    with pytest.raises(SpectrumError, match=r"no map of 'ew_halfa'. Did you mean 'ew_halpha'"):
        maps["ew_halfa"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"raw": [1, 1, 2]}, "maps.json: the knots of a map do not increase"),
        ({"raw": [1, 2]}, "maps.a.raw is a list; expected "),
        ({"raw": [1, 2, 3, 4]}, "raw and calibrated must have as many knots"),
        ({"raw": [1, 2, "x"]}, "maps.a.raw is 'x'; expected a number"),
        ({"raw": None}, "maps.a.raw is empty; expected a list"),
        ({"more": 1}, "unknown key 'more' in maps.a"),
    ],
)
def test_damaged_maps_are_refused(tmp_path, change, message):
    path = tmp_path / "maps.json"
    WidthMaps(maps={"a": WidthMap(raw=[1.0, 2.0, 3.0], calibrated=[1.0, 2.0, 3.0])}).write(path)
    document = json.loads(path.read_text())
    document["maps"]["a"] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(SpectrumError, match=message):
        WidthMaps.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "the file of width maps is empty; expected a map of keys and values"),
        ("{}", "missing key 'maps' in the file of width maps"),
        ('{"schema": "x", "maps": {}}', "schema is 'x'; expected 'targetsel/width-maps/v1'"),
    ],
)
def test_file_that_holds_no_maps_is_refused(tmp_path, content, message):
    path = tmp_path / "maps.json"
    path.write_text(content)
    with pytest.raises(SpectrumError, match=message):
        WidthMaps.read(path)
    with pytest.raises(SpectrumError, match="no such file"):
        WidthMaps.read(tmp_path / "none.json")


# ---------------------------------------------------------------- files


def test_pairs_are_taken_from_a_table_by_name(tmp_path):
    raw, calibrated = pairs()
    path = table_file(tmp_path / "pairs.parquet", ew_halpha=raw, HALPHA_EW=calibrated)
    maps = maps_from_table(path, ["ew_halpha=HALPHA_EW"])
    assert maps["ew_halpha"] == WidthMap.fit(raw, calibrated, "HALPHA_EW")
    assert maps.origin["file"] == "pairs.parquet"
    for pair, message in (
        ("ew_halpha", "expected RAW=CATALOG"),
        ("ew_halpha=HALFA_EW", "no column 'HALFA_EW'. Did you mean 'HALPHA_EW'"),
    ):
        with pytest.raises(SpectrumError, match=message):
            maps_from_table(path, [pair])
    with pytest.raises(SpectrumError, match="Name the columns with --pair RAW=CATALOG"):
        maps_from_table(path, [])
    with pytest.raises(CatalogError, match="no such file"):
        maps_from_table(tmp_path / "none.parquet", [])


def test_widths_are_converted_from_the_unit_of_their_column(tmp_path):
    raw, calibrated = pairs()
    fields = [described("ew_halpha", pa.float64(), "nm"), described("H", pa.float64(), "Angstrom")]
    path = tmp_path / "pairs.parquet"
    write_table(pa.table([raw / 10, calibrated], schema=pa.schema(fields)), path)
    maps = maps_from_table(path, ["ew_halpha=H"])
    expected = WidthMap.fit(raw, calibrated, "H")
    np.testing.assert_allclose(maps["ew_halpha"].raw, expected.raw, rtol=1e-12)
    write_calibrated(path, maps, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")["ew_halpha_cal"].to_numpy()
    np.testing.assert_allclose(found, expected(raw), rtol=1e-5)
    write_table(pa.table([raw], schema=pa.schema([fields[0].with_metadata({"unit": "s"})])), path)
    with pytest.raises(SpectrumError, match="column 'ew_halpha': is in 's'; expected 'Angstrom'"):
        write_calibrated(path, maps, tmp_path / "out.parquet")


def test_raw_widths_stay_beside_the_calibrated_ones(tmp_path):
    raw, calibrated = pairs()
    maps = WidthMaps(
        maps={"ew_halpha": WidthMap.fit(raw, calibrated)}, origin={"images": "simulated"}
    )
    columns = {"source_id": np.arange(3), "ew_halpha": np.array([1.0, 20.0, np.nan])}
    columns |= {"ew_halpha_q16": columns["ew_halpha"] - 1, "ew_oii": np.ones(3)}
    scored = table_file(tmp_path / "scored.parquet", **columns)
    added = write_calibrated(scored, maps, tmp_path / "out.parquet")
    assert added == ["ew_halpha_cal", "ew_halpha_cal_q16"]
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == [*columns, *added]
    np.testing.assert_array_equal(found["ew_halpha"].to_numpy(), columns["ew_halpha"])
    np.testing.assert_allclose(found["ew_halpha_cal"][1].as_py(), maps["ew_halpha"](20.0), 1e-6)
    assert found["ew_halpha_cal"].to_pylist()[2] is None
    field = open_table(tmp_path / "out.parquet").schema.field("ew_halpha_cal")
    assert b"simulated" in field.metadata[b"description"]
    assert read_footer(tmp_path / "out.parquet")["width_maps"] == {"images": "simulated"}


def test_catalog_that_cannot_be_calibrated_is_refused_and_nothing_written(tmp_path):
    maps = WidthMaps(maps={"ew_halpha": WidthMap.fit(*pairs())})
    out = tmp_path / "out.parquet"
    for columns, message in (
        ({"a": [1.0]}, "has none of the widths that there are maps for: ew_halpha"),
        ({"ew_halpha": [1.0], "ew_halpha_cal": [1.0]}, "already has a column 'ew_halpha_cal'"),
        ({"ew_halpha": ["x"]}, "holds text; expected widths"),
    ):
        scored = table_file(tmp_path / "scored.parquet", **columns)
        with pytest.raises(SpectrumError, match=message):
            write_calibrated(scored, maps, out)
    assert not out.exists()
