"""Files of redshifts from elsewhere: of qp, and tables.

Tests with qp itself run where `pip install qp-prob` was; it is no dependency of the tests, since it
brings PyTables, blosc2 and ten more packages.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from targetsel.errors import TargetselError
from targetsel.redshifts.distributions import LEVELS, SCORES
from targetsel.redshifts.qp_files import write_qp
from targetsel.redshifts.reading import read_distributions
from tests.redshifts.files import GRID, WRITERS, interp

MEANS = np.array([0.2, 0.3, 0.5])
IDS = [7, 8, 9]


def medians(found):
    return found.quantiles[:, len(SCORES) // 2]


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("ids", [IDS, ["a", "b", "c"]])
def test_a_file_of_qp_is_read_by_its_ids(ending, ids, tmp_path):
    path = WRITERS[ending](tmp_path / f"pdfs{ending}", interp(ids, MEANS))
    found = read_distributions(path)
    assert found.source_id.tolist() == ids
    assert medians(found) == pytest.approx(MEANS, abs=1e-4)
    assert found.kind == "interp"


@pytest.mark.parametrize("ending", [".hdf5", ".pq"])
def test_quantiles_that_are_written_are_read_again(ending, tmp_path):
    pytest.importorskip("h5py")
    levels = LEVELS[::4]
    values = norm.ppf(levels, MEANS[:, None], 0.02)
    write_qp(tmp_path / f"out{ending}", np.array(IDS), levels, values)
    found = read_distributions(tmp_path / f"out{ending}")
    assert found.source_id.tolist() == IDS
    assert found.quantiles[:, ::4] == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("form", ["interp", "hist", "quant", "mixmod", "interp_irregular"])
@pytest.mark.parametrize("ending", [".hdf5", ".pq"])
def test_what_qp_writes_has_the_quantiles_that_qp_gives(form, ending, tmp_path):
    qp = pytest.importorskip("qp")
    middle, spread = MEANS[:, None], 0.03
    edges = np.linspace(0, 1, 201)
    levels = np.linspace(0.001, 0.999, 99)
    data = {
        "interp": lambda: {"xvals": GRID, "yvals": norm.pdf(GRID, middle, spread)},
        "interp_irregular": lambda: {"xvals": np.tile(GRID, (3, 1)),
                                     "yvals": norm.pdf(GRID, middle, spread)},
        "hist": lambda: {"bins": edges, "pdfs": np.diff(norm.cdf(edges, middle, spread), axis=1)},
        "quant": lambda: {"quants": levels, "locs": norm.ppf(levels, middle, spread)},
        "mixmod": lambda: {"means": np.hstack([middle, middle + 0.1]),
                           "stds": np.full((3, 2), spread),
                           "weights": np.tile([0.6, 0.4], (3, 1))},
    }  # fmt: skip
    made = qp.Ensemble(getattr(qp, form), data=data[form](), ancil={"source_id": np.array(IDS)})
    made.write_to(str(tmp_path / f"qp{ending}"))
    found = read_distributions(tmp_path / f"qp{ending}")
    at = np.abs(SCORES) <= 2
    # Of irregular grids qp's cumulative probability lies half a step too far to one side.
    within = GRID[1] if form == "interp_irregular" else 0.02 * spread
    assert found.quantiles[:, at] == pytest.approx(made.ppf(LEVELS[at]), abs=within)


@pytest.mark.parametrize("ending", [".hdf5", ".pq"])
def test_qp_reads_what_we_write_and_we_read_what_it_writes_again(ending, tmp_path):
    qp = pytest.importorskip("qp")
    levels = np.arange(1, 100) / 100  # as `priors update --qp` has them
    values = norm.ppf(levels, MEANS[:, None], 0.02)
    write_qp(tmp_path / f"ours{ending}", np.array(IDS), levels, values)
    read = qp.read(str(tmp_path / f"ours{ending}"))
    assert np.ravel(read.ancil["source_id"]).tolist() == IDS
    # qp adds quantiles at 0 and 1, in a straight line; those between are ours, bit for bit.
    assert np.asarray(read.objdata["locs"])[:, 1:-1].tolist() == values.tolist()
    assert read.ppf(levels) == pytest.approx(values, abs=1e-9)
    for row in range(3):
        at = np.linspace(values[row, 0], values[row, -1], 301)
        # Between quantiles qp's density is not constant as ours.
        below = np.interp(at, values[row], levels)
        assert read[row].cdf(at).ravel() == pytest.approx(below, abs=1e-3)
        density = norm.pdf(at[5:-5], MEANS[row], 0.02)
        assert read[row].pdf(at[5:-5]).ravel() == pytest.approx(density, abs=0.02 * density.max())
    read.write_to(str(tmp_path / f"theirs{ending}"))
    again = read_distributions(tmp_path / f"theirs{ending}")
    first = read_distributions(tmp_path / f"ours{ending}")
    assert again.source_id.tolist() == IDS
    assert again.quantiles == pytest.approx(first.quantiles, abs=1e-12)


@pytest.mark.parametrize("name", ["redshift", "Z_PHOT", "z_spec"])
@pytest.mark.parametrize("error", ["{}_err", "e_{}"])
def test_values_with_errors_have_usual_names(name, error, tmp_path):
    table = pa.table({"objid": IDS, name: MEANS, error.format(name): [0.01] * 3})
    pq.write_table(table, tmp_path / "z.parquet")
    found = read_distributions(tmp_path / "z.parquet")
    assert medians(found) == pytest.approx(MEANS)


def test_one_error_may_serve_all(tmp_path):
    pq.write_table(pa.table({"source_id": IDS, "redshift": MEANS}), tmp_path / "z.parquet")
    found = read_distributions(tmp_path / "z.parquet", error="0.01")
    assert found.quantiles[0, -1] == pytest.approx(0.2 + 0.04)


def nested(form, **others):
    """Densities of three sources: of the last one with half as many points as of the others."""
    rows = []
    for mean, step in zip(MEANS, (1, 1, 2), strict=True):
        z, p = GRID[::step], norm.pdf(GRID[::step], mean, 0.05)
        rows.append(
            {"z": z.tolist(), "pdf": p.tolist()}
            if form == "struct of lists"
            else [{"z": a, "pdf": b} for a, b in zip(z.tolist(), p.tolist(), strict=True)]
        )
    kind = pa.float64()
    types = {
        "struct of lists": pa.struct([("z", pa.list_(kind)), ("pdf", pa.list_(kind))]),
        "list of structs": pa.list_(pa.struct([("z", kind), ("pdf", kind)])),
    }
    return pa.table({"source_id": IDS, "pz": pa.array(rows, types[form]), **others})


@pytest.mark.parametrize("form", ["struct of lists", "list of structs"])
def test_nested_densities_are_read_whatever_their_lengths(form, tmp_path):
    pq.write_table(nested(form, redshift=[9.0] * 3), tmp_path / "nested.parquet")
    found = read_distributions(tmp_path / "nested.parquet")
    assert found.kind == "densities"
    assert medians(found) == pytest.approx(MEANS, abs=1e-4)


def test_a_nested_column_may_be_that_of_a_folder_of_files(tmp_path):
    folder = tmp_path / "sky"
    folder.mkdir()
    pq.write_table(nested("struct of lists").slice(0, 2), folder / "part0.parquet")
    pq.write_table(nested("struct of lists").slice(2), folder / "part1.parquet")
    assert medians(read_distributions(folder)) == pytest.approx(MEANS, abs=1e-4)


def refused(path, *words):
    with pytest.raises(TargetselError) as caught:
        read_distributions(path, *words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def without(tables, table, name=None):
    rest = {key: dict(value) for key, value in tables.items()}
    if name is None:
        rest.pop(table)
    else:
        rest[table].pop(name)
    return rest


def changed(tables, table, **columns):
    rest = {key: dict(value) for key, value in tables.items()}
    rest[table] |= columns
    return rest


TABLES = interp(IDS, MEANS)


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        (without(TABLES, "ancil"), "no column of ids 'source_id'"),
        (without(TABLES, "ancil", "source_id"), "It has zmode"),
        (without(TABLES, "data"), "not a file of qp"),
        (without(TABLES, "meta", "pdf_name"), "not a file of qp"),
        (without(TABLES, "data", "yvals"), "has no 'yvals'"),
        (changed(TABLES, "meta", pdf_name=np.array([b"spline"])), "of the form 'spline'"),
        (changed(TABLES, "meta", xvals=GRID[None, :-1]), "do not fit xvals"),
        (changed(TABLES, "meta", xvals=GRID[None, ::-1]), "do not rise"),
        (changed(TABLES, "data", yvals=TABLES["data"]["yvals"] * 3), "'7': .* integrates to 3"),
        (changed(TABLES, "data", yvals=TABLES["data"]["yvals"][:2]), "shape"),
        (changed(TABLES, "data", yvals=np.zeros((3, len(GRID)))), "tells the redshift of none"),
        (changed(TABLES, "ancil", source_id=np.array([7, 7, 8])), "several rows of the id '7'"),
        (changed(TABLES, "ancil", source_id=np.array([7.5, 8, 9])), "no whole number"),
    ],
)
@pytest.mark.parametrize("ending", WRITERS)
def test_a_damaged_file_of_qp_is_refused_in_a_line(ending, tables, says, tmp_path):
    path = WRITERS[ending](tmp_path / f"bad{ending}", tables)
    assert re.search(says, refused(path))


def test_bytes_that_are_no_hdf5_are_refused(tmp_path):
    path = tmp_path / "text.hdf5"
    path.write_text("no HDF5")
    assert "expected an HDF5" in refused(path) or "a file of qp in HDF5" in refused(path)
    assert "absent.hdf5" in refused(tmp_path / "absent.hdf5")


@pytest.mark.parametrize(
    ("columns", "words", "says"),
    [
        ({"source_id": IDS, "redshift": MEANS}, (), "errors of 'redshift', found none"),
        ({"source_id": IDS, "name": ["a"] * 3}, (), "no column of redshifts"),
        ({"redshift": MEANS, "redshift_err": MEANS}, (), "no column of source ids"),
        ({"source_id": IDS, "redshift": ["a"] * 3, "redshift_err": MEANS}, (), "holds text"),
        ({"source_id": IDS, "redshift": MEANS}, ("", "none"), "no column 'none'"),
        ({"source_id": IDS, "redshift": MEANS}, ("redshit", "0.1"), "Did you mean 'redshift'"),
        ({"source_id": IDS, "redshift": MEANS}, ("", "-1"), "expected more than 0"),
        ({"source_id": [1, 1, 2], "redshift": MEANS}, ("", "0.1"), "several rows of the id '1'"),
        ({"source_id": [1, None, 2], "redshift": MEANS}, ("", "0.1"), "rows without an id"),
        ({"source_id": IDS, "redshift": [-99.0] * 3}, ("", "0.1"), "tells the redshift of none"),
        ({"source_id": [], "redshift": pa.array([], pa.float64())}, ("", "0.1"), "none of its 0"),
    ],
)  # fmt: skip
def test_a_table_without_redshifts_is_refused_in_a_line(columns, words, says, tmp_path):
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "z.parquet")
    assert says in refused(tmp_path / "z.parquet", *words)


def test_redshifts_in_a_unit_are_refused(tmp_path):
    field = pa.field("redshift", pa.float64(), metadata={"unit": "km/s"})
    schema = pa.schema([pa.field("source_id", pa.int64()), field])
    pq.write_table(pa.table([IDS, MEANS], schema=schema), tmp_path / "z.parquet")
    assert "is in 'km/s'" in refused(tmp_path / "z.parquet", "", "0.1")


def test_unequal_lists_of_a_source_are_refused(tmp_path):
    kind = pa.struct([("z", pa.list_(pa.float64())), ("pdf", pa.list_(pa.float64()))])
    rows = pa.array([{"z": [0.0, 1.0], "pdf": [1.0]}], kind)
    pq.write_table(pa.table({"source_id": [7], "pz": rows}), tmp_path / "z.parquet")
    assert "'7'" in (said := refused(tmp_path / "z.parquet"))
    assert "2 redshifts and 1 densities" in said
