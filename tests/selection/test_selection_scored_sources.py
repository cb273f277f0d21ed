"""A scored file read in parts gives what the whole would give."""

import gc
import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.rules.catalog_part import CatalogPart
from targetsel.rules.columns import footer
from targetsel.rules.formula import ColumnValue, Compare, Constant
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.selection import scored_sources as module
from targetsel.selection.funnel import ConditionCounter
from targetsel.selection.scored_sources import ScoredSources
from targetsel.selection.select import select
from targetsel.selection.sources import Sources
from targetsel.selection.target_list import columns_needed
from targetsel.tables.parquet import read_footer, write_table
from tests.selection.scored_by_hand import scored_table

RULES = Rules.parse("""schema: targetsel/rules/v1
name: test
footprint: {exclude: {healpix: {nside: 4096, pixels: [17]}}}
classes:
  LINES:
    bit: 0
    priority: 10 * (25 - rmag)
    where: [P(ew_halpha > 50 and ew_oiii > 10) >= 0.3, rmag < 21]
    rank: ew_halpha
    limit: {per_deg2: 1000000, nside: 8192, total: 120}
  FAINT:
    bit: 1
    priority: 3
    where: rmag >= catalog_quantile(rmag, 0.9)
    unless: LINES
    dedup: {within: 100 arcsec}
  ANY: {bit: 2, priority: 1, where: rmag < 30, sample: 20 percent, limit: {total: 50, by: hash}}
""")


def catalog(ids=None) -> pa.Table:
    """3000 sources in the order of the sky."""
    n = 3000
    rng = np.random.default_rng(8)
    medians = rng.normal([12, 52, 1.5], [5, 10, 0.2], (n, 3))
    medians[::7] = np.nan
    rmag = np.sort(rng.uniform(16, 23, n))
    rmag[::11] = np.nan
    columns = {"rmag": (pa.array(rmag, pa.float32()), "mag")}
    table = scored_table(medians, np.tile([2.0, 5.0, 0.1], (n, 1)), ids=ids, columns=columns)
    healpix = np.sort(rng.integers(0, 100 * 4**17, n))  # within 100 pixels of nside 4096
    return table.set_column(3, table.schema.field(3), pa.array(healpix))


def ids_of_selected(path, rules) -> list[int]:
    with ScoredSources(path) as file:
        classes = plan(rules, file.schema).classes
        columns = columns_needed(classes, file.schema)
        counters = [ConditionCounter(each, CatalogPart(file.schema)) for each in classes]
        pieces = file.selected(classes, counters, columns)
        return [i for piece in pieces for i in piece.target_id.tolist()]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A target list of the catalog, and the folder it lies in."""
    folder = tmp_path_factory.mktemp("scan")
    table = catalog()
    write_table(table, folder / "a.scored.parquet", footer(table.schema))
    select(folder / "a.scored.parquet", RULES, folder / "a.targets.parquet")
    counts = read_footer(folder / "a.targets.parquet")["counts"]
    assert all(counts.values())
    assert counts["LINES"] == 120
    assert read_footer(folder / "a.targets.parquet")["copies"]["FAINT"]
    return folder


def rewritten(folder, table: pa.Table, **options):
    pq.write_table(table, folder / "b.scored.parquet", **options)
    select(folder / "b.scored.parquet", RULES, folder / "b.targets.parquet")
    return (folder / "b.targets.parquet").read_bytes()


@pytest.mark.parametrize(("rows", "statistics"), [(37, True), (100, False), (5000, True)])
def test_row_groups_make_no_difference(written, rows, statistics):
    found = rewritten(written, catalog(), row_group_size=rows, write_statistics=statistics)
    assert found == (written / "a.targets.parquet").read_bytes()


def test_large_row_groups_are_read_in_slices_to_the_same_end(written, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_READ", 700)
    found = rewritten(written, catalog(), row_group_size=3000)
    assert found == (written / "a.targets.parquet").read_bytes()


def test_sources_go_as_soon_as_they_are_not_needed():
    gc.disable()
    try:
        sources = Sources(catalog().slice(0, 10))
        assert len(sources.posterior.knots("ew_halpha")) == 10
        left = weakref.ref(sources)
        del sources
        assert left() is None
    finally:
        gc.enable()


def test_order_of_the_rows_makes_no_difference(written):
    order = np.random.default_rng(3).permutation(3000)
    found = rewritten(written, catalog().take(pa.array(order)), row_group_size=200)
    assert found == (written / "a.targets.parquet").read_bytes()


def test_workers_make_no_difference(written):
    scored = written / "a.scored.parquet"
    pq.write_table(catalog(), scored.with_name("c.scored.parquet"), row_group_size=100)
    select(scored.with_name("c.scored.parquet"), RULES, written / "c.parquet", threads=2)
    assert (written / "c.parquet").read_bytes() == (written / "a.targets.parquet").read_bytes()


def test_ids_that_are_no_numbers_are_numbered_along_the_sky_whatever_the_order(tmp_path):
    table = catalog([f"s{i:04}" for i in range(3000)])
    lists = []
    for order in (np.arange(3000), np.random.default_rng(3).permutation(3000)):
        pq.write_table(table.take(pa.array(order)), tmp_path / "s.parquet", row_group_size=500)
        select(tmp_path / "s.parquet", RULES, tmp_path / "t.parquet")
        lists.append((tmp_path / "t.parquet").read_bytes())
    assert lists[0] == lists[1]
    targets = pq.read_table(tmp_path / "t.parquet")
    numbers = [int(name[1:]) for name in targets["source_id"].to_pylist()]
    assert targets["target_id"].to_pylist() == numbers


def test_row_groups_that_hold_no_member_are_not_read(written, monkeypatch):
    pq.write_table(catalog(), written / "d.parquet", row_group_size=100)
    rules = Rules.parse(
        "schema: targetsel/rules/v1\nname: t\n"
        "classes: {A: {bit: 0, priority: 1, where: rmag < 16.5}}"
    )
    read = []
    read_row_groups = pq.ParquetFile.read_row_groups

    def counted(file, groups, *rest, **options):
        read.extend(groups)
        return read_row_groups(file, groups, *rest, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    n = len(ids_of_selected(written / "d.parquet", rules))
    assert n == (catalog()["rmag"].to_numpy() < 16.5).sum() > 0
    assert set(read) == {0, 1, 2}


def test_file_without_a_footprint_inside_is_hardly_looked_at(written, monkeypatch):
    text = RULES.text.replace("exclude", "include", 1).replace("[17]", "[500]")
    pq.write_table(catalog(), written / "e.parquet", row_group_size=100)
    monkeypatch.setattr(module.ScoredSources, "_members", None)
    rules = Rules.parse(text.replace("catalog_quantile(rmag, 0.9)", "22"))
    assert select(written / "e.parquet", rules, written / "e.targets.parquet").n_targets == 0


@pytest.mark.parametrize("writer", ["pyarrow", "polars", "duckdb"])
def test_statistics_of_any_writer_never_hide_a_member(tmp_path, writer):
    values = [1.0, np.nan, None, 5.0]
    table = scored_table(
        np.ones((4, 3)), np.ones((4, 3)), columns={"b": (pa.array(values, pa.float64()), "")}
    )
    table = table.drop_columns([n for n in table.column_names if n.endswith(("iles", "tion"))])
    path = tmp_path / "a.parquet"
    if writer == "pyarrow":
        pq.write_table(table, path)
    elif writer == "polars":
        polars = pytest.importorskip("polars")
        polars.from_arrow(table).write_parquet(path)
    else:
        duckdb = pytest.importorskip("duckdb")
        duckdb.from_arrow(table).write_parquet(str(path))
    expected = {"<=": [0], "<": [], ">": [3], ">=": [0, 3], "==": [0], "!=": [3]}
    with ScoredSources(path) as file:
        for operator, rows in expected.items():
            rules = Rules.parse(
                "schema: targetsel/rules/v1\nname: t\n"
                f"classes: {{A: {{bit: 0, priority: 1, where: 'b {operator} 1'}}}}"
            )
            assert [i - 1 for i in ids_of_selected(path, rules)] == rows
        condition = Compare(">", ColumnValue("b"), Constant(6.0))
        assert not file._may_be_true(condition, 0) or writer == "duckdb"


def columns_read(monkeypatch, path, rules) -> set[str]:
    """The columns that a selection looked at."""
    read: set[str] = set()
    read_row_groups = pq.ParquetFile.read_row_groups

    def noted(file, groups, columns, **options):
        read.update(columns)
        return read_row_groups(file, groups, columns, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetFile, "read_row_groups", noted)
        ids_of_selected(path, rules)
    return read


def rules_with(where: str) -> Rules:
    return Rules.parse(
        "schema: targetsel/rules/v1\nname: t\n"
        f"classes: {{A: {{bit: 0, priority: 1, where: [{where}]}}}}"
    )


def test_only_posteriors_that_a_rule_names_are_read(written, monkeypatch):
    scored = written / "a.scored.parquet"
    one = columns_read(monkeypatch, scored, rules_with("P(d4000 > 9) > 0.5"))
    assert one == {"d4000_quantiles"}
    two = columns_read(monkeypatch, scored, rules_with("P(d4000 > 1 and ew_halpha > 52) > 0.4"))
    assert {"d4000_quantiles", "d4000_correlation", "ew_halpha_quantiles"} <= two
    assert not {"ew_oiii_quantiles", "ew_oiii_std"} & two


def test_columns_of_later_conditions_are_not_read_once_nobody_is_left(written, monkeypatch):
    rules = rules_with("rmag < 99, rmag < 1, P(d4000 > 1) > 0.5")
    assert columns_read(monkeypatch, written / "a.scored.parquet", rules) == {"rmag"}


def test_columns_that_are_used_in_any_case_are_read_with_one_another(written, monkeypatch):
    read = []
    read_columns = ScoredSources.read

    def noted(file, names, groups):
        read.append(names)
        return read_columns(file, names, groups)

    monkeypatch.setattr(ScoredSources, "read", noted)
    rules = rules_with("dec > -91, rmag < 1, ew_halpha > 0")
    first = {}
    for whole in (True, False):
        read.clear()
        output = written / "g.parquet"
        select(written / "a.scored.parquet", rules, output, with_funnels=whole)
        first[whole] = read[0]
    assert first == {True: ["dec", "ew_halpha", "rmag"], False: ["dec"]}


def test_row_group_without_rows_is_no_trouble(written):
    pq.write_table(catalog().slice(0, 0), written / "f.parquet")
    summary = select(written / "f.parquet", RULES, written / "f.targets.parquet")
    assert (summary.n_sources, summary.n_targets) == (0, 0)
    assert read_footer(written / "f.targets.parquet")["catalog_quantiles"] == {
        "catalog_quantile(rmag, 0.9)": None
    }
