"""A class as a few cuts on the catalog alone."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, OutputError, RuleError
from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.cut_search import PlainCut, best_cuts, kept_by
from targetsel.selection.plain_cuts import _groups, distil, half_of
from targetsel.selection.plain_quantities import linear_combination, plain_quantities
from targetsel.selection.select import select
from targetsel.sky.positions import healpix_of
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text, scored_table

N = 3000
RULES = rule_text("P(ew_halpha > 50) >= 0.5")


def catalog_columns(rng):
    g, r, i = rng.uniform(18, 21, (3, N)).astype(np.float32)
    return {"gmag": g, "rmag": r, "imag": i}


@pytest.fixture
def scored(tmp_path):
    """Sources whose H alpha is above 50 Angstrom exactly where g - r < -0.5 and i < 20."""
    rng = np.random.default_rng(1)
    bright = catalog_columns(rng)
    strong = (bright["gmag"] - bright["rmag"] < -0.5) & (bright["imag"] < 20)
    medians = np.stack([np.full(N, 10.0), np.where(strong, 90.0, 10.0), np.full(N, 1.5)], axis=1)
    table = scored_table(medians, np.tile([2.0, 5.0, 0.1], (N, 1)))
    ra, dec = rng.uniform(10, 40, N), rng.uniform(-10, 10, N)
    for name, values in (("ra", ra), ("dec", dec), ("_healpix_29", healpix_of(ra, dec))):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values))
    for name, values in bright.items():
        field = pa.field(name, pa.float32(), metadata={b"unit": b"mag"})
        table = table.add_column(3, field, pa.array(values))
    path = tmp_path / "a.scored.parquet"
    write_table(table, path, footer(table.schema))
    return path


def told(scored, output, **given):
    return distil(scored, Rules.parse(RULES), "ELG", output, given.pop("cuts", 5), **given)


def test_cuts_that_made_the_class_are_found_again(scored, tmp_path):
    found = told(scored, tmp_path / "cuts.yaml", cuts=2)
    assert len(found.cuts) == 2
    first, second = found.lists
    assert float(second.purity.value) > 0.97 * float(first.purity.value)
    assert float(second.completeness.value) > 0.95


def test_written_file_names_no_prediction_and_selects_from_a_catalog_without_scores(
    scored, tmp_path
):
    found = told(scored, tmp_path / "cuts.yaml")
    plain = tmp_path / "plain.parquet"
    pq.write_table(
        pq.read_table(scored, columns=["source_id", "ra", "dec", "gmag", "rmag", "imag"]), plain
    )
    rules = Rules.read(tmp_path / "cuts.yaml")
    one = select(plain, rules, tmp_path / "one.parquet")
    other = select(scored, rules, tmp_path / "other.parquet")
    assert one.n_targets == other.n_targets > 100
    assert "ew_" not in " ".join(found.cuts)


def test_cuts_keep_as_many_sources_as_the_list_has(scored, tmp_path):
    first, second = told(scored, tmp_path / "cuts.yaml", cuts=1).lists
    assert abs(second.n_sources - first.n_sources) < 4 * np.sqrt(first.n_sources)


def test_file_is_the_same_whatever_the_order_of_rows(scored, tmp_path):
    table = pq.read_table(scored)
    shuffled = table.take(pa.array(np.random.default_rng(2).permutation(N)))
    write_table(shuffled, tmp_path / "b.scored.parquet", footer(table.schema))
    told(scored, tmp_path / "cuts.yaml")
    text = (tmp_path / "cuts.yaml").read_text()
    (tmp_path / "cuts.yaml").unlink()
    told(tmp_path / "b.scored.parquet", tmp_path / "cuts.yaml")
    assert (tmp_path / "cuts.yaml").read_text() == text


def test_file_that_is_there_is_not_overwritten(scored, tmp_path):
    (tmp_path / "cuts.yaml").write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        told(scored, tmp_path / "cuts.yaml")


def test_class_that_is_missing_is_named(scored, tmp_path):
    with pytest.raises(RuleError, match="ELGG"):
        distil(scored, Rules.parse(RULES), "ELGG", tmp_path / "cuts.yaml", 5)


def test_class_with_too_few_members_is_refused(scored, tmp_path):
    rules = Rules.parse(rule_text("P(ew_halpha > 900) >= 0.5"))
    with pytest.raises(CatalogError, match="0 members of ELG, and cuts need 10"):
        distil(scored, rules, "ELG", tmp_path / "cuts.yaml", 5)
    assert not (tmp_path / "cuts.yaml").exists()


def test_catalog_without_rows_is_refused(scored, tmp_path):
    table = pq.read_table(scored).slice(0, 0)
    write_table(table, tmp_path / "none.scored.parquet", footer(table.schema))
    with pytest.raises(CatalogError, match="has no sources"):
        told(tmp_path / "none.scored.parquet", tmp_path / "cuts.yaml")


def test_catalog_without_scores_is_refused_where_rules_need_them(scored, tmp_path):
    plain = tmp_path / "plain.csv"
    names = ["source_id", "ra", "dec", "gmag"]
    pq.read_table(scored, columns=names).to_pandas().to_csv(plain, index=False)
    with pytest.raises(CatalogError, match="CSV has no place"):
        select(plain, Rules.parse(RULES), tmp_path / "out.parquet")
    found = select(plain, Rules.parse(rule_text("gmag < 19")), tmp_path / "out.parquet")
    assert 0 < found.n_targets < N
    with pytest.raises(RuleError, match="unknown column 'gmagg'"):
        select(plain, Rules.parse(rule_text("gmagg < 19")), tmp_path / "out.parquet")


@pytest.mark.parametrize("column", ["nosuch", "ew_halpha"])
def test_column_that_the_catalog_alone_does_not_have_is_refused(scored, tmp_path, column):
    with pytest.raises(CatalogError, match=f"'{column}' is no column of the catalog alone"):
        told(scored, tmp_path / "cuts.yaml", columns=[column])


def test_redshifts_errors_and_positions_are_not_compared():
    meta = {b"unit": b"arcsec"}
    fields = [
        pa.field("source_id", pa.int64()),
        *(pa.field(name, pa.float64(), metadata={b"unit": b"deg"}) for name in ("ra", "dec")),
        pa.field("redshift", pa.float64()),
        pa.field("rmag", pa.float64(), metadata={b"unit": b"mag"}),
        pa.field("rmag_err", pa.float64(), metadata={b"unit": b"mag"}),
        pa.field("radius", pa.float64(), metadata=meta),
        pa.field("radius_err", pa.float64(), metadata=meta),
    ]
    table = pa.table([pa.array([1, 2])] + [pa.array([1.0, 2.0])] * 7, schema=pa.schema(fields))
    assert [each.text for each in plain_quantities(table)] == ["rmag", "radius"]
    with pytest.raises(CatalogError, match="no magnitudes, fluxes or sizes"):
        plain_quantities(table.select(["source_id", "ra", "dec", "redshift"]))


def test_combination_follows_the_colour_that_tells(scored):
    table = pq.read_table(scored, columns=["source_id", "gmag", "rmag", "imag"])
    metadata = pa.field("x", pa.float32(), metadata={b"unit": b"mag"}).metadata
    fields = [f if f.name == "source_id" else f.with_metadata(metadata) for f in table.schema]
    table = table.cast(pa.schema(fields))
    g, r, i = (table[name].to_numpy() for name in ("gmag", "rmag", "imag"))
    wanted = ((g - r) + 0.5 * (r - i) < -0.2).astype(float)
    found = linear_combination(table, wanted, np.ones(N, dtype=bool))
    assert found is not None
    assert found.text.startswith("(gmag - rmag) + 0.")
    assert np.corrcoef(found.values, (g - r) + 0.5 * (r - i))[0, 1] > 0.99


def test_missing_values_fail_every_cut():
    values = np.array([[1.0, np.nan, 3.0]])
    assert kept_by([PlainCut(0, True, 0.0)], values).tolist() == [True, False, True]
    assert kept_by([PlainCut(0, False, 9.0)], values).tolist() == [True, False, True]


def test_nothing_is_found_where_too_few_values_are_known():
    assert best_cuts(np.full((2, 50), np.nan), np.ones(50), 10, 3) == []


def test_cut_that_closes_the_list_keeps_the_number_asked_for():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(3, 2000))
    wanted = (values[0] > 1).astype(float)
    for n in (10, 300, 1500):
        cuts = best_cuts(values, wanted, n, 3)
        assert abs(int(kept_by(cuts, values).sum()) - n) <= 2


def test_halves_do_not_depend_on_other_groups():
    groups = np.arange(1000)
    assert 400 < half_of(groups).sum() < 600
    assert (half_of(groups)[::7] == half_of(groups[::7])).all()


def test_a_group_of_most_sources_is_none_of_images_of_one_galaxy():
    pixels, rows = np.arange(2000) * 4**20, np.arange(2000)
    table = pa.table({"_healpix_29": pixels, "group_id": np.where(rows < 900, -1, rows)})
    assert len(np.unique(_groups(table)[:900])) > 20
    pairs = table.set_column(1, "group_id", pa.array(rows // 2))
    assert (_groups(pairs) == rows // 2).all()
