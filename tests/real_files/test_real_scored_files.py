"""Scored files that passed through other programs, or hold what no network would predict."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, EnsembleError
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.rules.rules import Rules
from targetsel.scored.file import ScoredFile
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.scored.restoring import restore
from targetsel.selection.evaluation import probability
from targetsel.selection.select import select
from targetsel.selection.sources import Sources
from tests.real_files.conftest import one_line
from tests.report.sky_by_hand import sky
from tests.selection.scored_by_hand import rule_text, scored_table

N = 400
RULES = Rules.parse(rule_text("P(ew_halpha > 30 and ew_oiii > 10) > 0.4", "rmag < 18.5"))


@pytest.fixture
def made():
    return sky(N)


def selected(path, folder) -> dict[str, float]:
    """Probability of every selected source, by its id."""
    select(path, RULES, folder / "out.targets.parquet")
    table = pq.read_table(folder / "out.targets.parquet")
    ids = map(str, table["source_id"].to_pylist())
    return dict(zip(ids, table["probability"].to_pylist(), strict=True))


def without_notes(table: pa.Table) -> pa.Table:
    """As most programs write a table: no metadata of fields or file."""
    fields = [pa.field(field.name, field.type) for field in table.schema]
    return pa.table(table.columns, schema=pa.schema(fields))


def by_duckdb(table: pa.Table) -> pa.Table:
    """Lists of any length, and no notes."""
    return _with_types(table, lambda kind: pa.list_(kind.value_type))


def by_polars(table: pa.Table) -> pa.Table:
    """Large lists and views of text."""
    return _with_types(table, lambda kind: pa.large_list(kind.value_type), pa.string_view())


def by_pandas(table: pa.Table) -> pa.Table:
    """Lists of doubles, and an index."""
    return pa.Table.from_pandas(without_notes(table).to_pandas())


def with_text_ids(table: pa.Table) -> pa.Table:
    text = pa.array([str(each) for each in table["source_id"].to_pylist()])
    return without_notes(table).set_column(0, "source_id", text)


def with_float_ids(table: pa.Table) -> pa.Table:
    return without_notes(table).set_column(0, "source_id", table["source_id"].cast(pa.float64()))


def with_other_names(table: pa.Table) -> pa.Table:
    names = {"source_id": "objID", "ra": "RAJ2000", "dec": "DEJ2000"}
    return without_notes(table).rename_columns([names.get(n, n) for n in table.column_names])


def _with_types(table, of_lists, text=pa.string()):
    table = without_notes(table)
    fields = []
    for field in table.schema:
        kind = field.type
        if pa.types.is_fixed_size_list(kind):
            kind = of_lists(kind)
        elif pa.types.is_string(kind):
            kind = text
        fields.append(pa.field(field.name, kind))
    arrays = [
        pa.array(column.to_pylist(), field.type)
        for column, field in zip(table.columns, fields, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields))


@pytest.mark.parametrize(
    "other",
    [
        *(without_notes, by_duckdb, by_polars, by_pandas, with_text_ids, with_float_ids),
        lambda t: without_notes(t).drop_columns("_healpix_29"),  # which the positions tell
    ],
)
def test_a_file_that_another_program_wrote_gives_the_same_targets(made, tmp_path, other):
    scored, _ = made.write(tmp_path)
    expected = selected(scored, tmp_path)
    assert 20 < len(expected) < N / 2
    pq.write_table(other(pq.read_table(scored)), tmp_path / "other.scored.parquet")
    found = selected(tmp_path / "other.scored.parquet", tmp_path)
    assert found == pytest.approx(expected, abs=1e-6)


def test_columns_of_ids_and_positions_are_found_by_their_usual_names(made, tmp_path):
    scored, _ = made.write(tmp_path)
    pq.write_table(with_other_names(pq.read_table(scored)), tmp_path / "other.scored.parquet")
    with ScoredFile(tmp_path / "other.scored.parquet") as file:
        assert file.names == {"source_id": "objID", "ra": "RAJ2000", "dec": "DEJ2000"}


def test_units_proxies_and_correlations_are_put_back(made, tmp_path):
    scored, _ = made.write(tmp_path)
    pq.write_table(by_duckdb(pq.read_table(scored)), tmp_path / "other.scored.parquet")
    with ScoredFile(scored) as file, ScoredFile(tmp_path / "other.scored.parquet") as other:
        for name in ("ew_halpha", "d4000_quantiles", "d4000_correlation"):
            one, two = file.schema.field(name), other.schema.field(name)
            assert two.type == one.type
            for note in (b"unit", b"with"):
                assert (two.metadata or {}).get(note) == (one.metadata or {}).get(note), name


def _changed(table: pa.Table, name: str, row: int, value) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ew_halpha_quantiles", [np.nan] * 11),
        ("ew_halpha_quantiles", [*range(10, 20), np.inf]),
        ("ew_halpha_quantiles", [*range(30, 19, -1)]),
        ("ew_halpha_quantiles", None),
    ],
)
def test_a_row_whose_posterior_is_none_is_not_chosen_and_others_are(made, tmp_path, name, value):
    scored, _ = made.write(tmp_path)
    expected = selected(scored, tmp_path)
    row = int(next(iter(expected))) - 1
    table = _changed(pq.read_table(scored), name, row, value)
    pq.write_table(table, tmp_path / "other.scored.parquet")
    found = selected(tmp_path / "other.scored.parquet", tmp_path)
    assert found.keys() == expected.keys() - {str(row + 1)}


@pytest.mark.parametrize(
    "text",
    ["ew_halpha > 30 and ew_oiii > 10", "ew_halpha > 3 * ew_oiii", "not ew_halpha < 3 * ew_oiii"],
)
@pytest.mark.parametrize("value", [[7.0], [np.nan], None])
def test_lost_correlations_are_not_taken_for_none(tmp_path, text, value):
    table = scored_table([[10, 30, 1.6]] * 3, [[2, 5, 0.1]] * 3, [0.8, 0.1, 0.1])
    pq.write_table(_changed(table, "ew_halpha_correlation", 1, value), tmp_path / "s.parquet")
    condition = Binder(CatalogColumns(table.schema)).condition(parse(text))
    with ScoredFile(tmp_path / "s.parquet") as file:
        found = probability(condition, Sources(next(file.tables())))
    assert np.isnan(found).tolist() == [False, True, False]


def test_correlations_of_no_distribution_lose_their_row_alone(tmp_path):
    """Two proxies that follow a third, and each the other's opposite."""
    table = scored_table([[10, 30, 1.6]] * 3, [[2, 5, 0.1]] * 3, [0.8, 0.1, 0.1])
    table = _changed(table, "ew_halpha_correlation", 1, [0.9])
    pq.write_table(_changed(table, "d4000_correlation", 1, [0.9, -0.9]), tmp_path / "s.parquet")
    condition = Binder(CatalogColumns(table.schema)).condition(parse("ew_halpha > ew_oiii * d4000"))
    with ScoredFile(tmp_path / "s.parquet") as file:
        found = probability(condition, Sources(next(file.tables())))
    assert np.isnan(found).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns("dec"), "no column 'dec', which score writes; a program that"),
        (lambda t: t.select(["source_id", "ra", "dec", "rmag"]), "'_healpix_29', so it is not a s"),
        (
            lambda t: _set(t, "d4000_quantiles", pa.array([[1.0, 2.0]] * N)),
            r"'d4000_quantiles': has a list of 2 numbers; expected 11 in each\. Restore it from",
        ),
        (lambda t: _set(t, "d4000_quantiles", pa.array(["x"] * N)), "holds text; expected"),
        (lambda t: _set(t, "d4000", pa.array(["x"] * N)), "'d4000': holds text; expected numbers"),
        (
            lambda t: _set(t, "d4000_correlation", pa.array([[0.5, 0.1, 0.3, 0.2]] * N)),
            r"'d4000_correlation': no longer says which 4 quantities it is with\. Restore it from",
        ),
        (
            lambda t: _set(t, "member_cov", pa.array([[0.5, 0.1]] * N)),
            "'member_mean' and 'member_cov' are not of the same latents",
        ),
        (lambda t: _set(t, "ra", pa.array([None, *range(N - 1)], pa.float64())), "'ra': 1 of 400"),
        (lambda t: _set(t, "dec", pa.array([np.nan] * N)), "'dec': 400 of 400 sources have none"),
        (lambda t: _set(t, "source_id", pa.array([None, *range(N - 1)])), "id.: 1 of 400"),
        (lambda t: _set(t, "source_id", pa.array([1.5] * N)), "1.5 is no whole number"),
        (lambda t: _set(t, "source_id", pa.array([True] * N)), "expected ids"),
    ],
)  # fmt: skip
def test_what_is_truly_missing_is_named(made, tmp_path, change, message):
    scored, _ = made.write(tmp_path)
    pq.write_table(change(without_notes(pq.read_table(scored))), tmp_path / "s.parquet")
    with pytest.raises(CatalogError, match=message):
        selected(tmp_path / "s.parquet", tmp_path)


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def test_a_posterior_whose_shape_is_lost_is_not_taken_for_a_gaussian(made, tmp_path):
    scored, truth = made.write(tmp_path)
    pq.write_table(without_notes(pq.read_table(scored)), tmp_path / "s.parquet")
    with pytest.raises(CatalogError, match="'member_cov': has lost what score noted of the post"):
        LabelledSources.read(tmp_path / "s.parquet", truth)
    proxies_alone = pq.read_table(truth).drop_columns("latent")
    pq.write_table(proxies_alone, truth)
    assert len(LabelledSources.read(tmp_path / "s.parquet", truth)) == N


@pytest.mark.parametrize("other", [without_notes, by_duckdb, by_pandas, with_text_ids])
def test_what_another_program_lost_is_restored_from_the_original(made, tmp_path, other):
    scored, _ = made.write(tmp_path, {"calibration": {"sha256": "f" * 64}})
    table = other(pq.read_table(scored)).take(pa.array([5, 3, 7]))
    table = table.append_column("mine", pa.array([1, 2, 3]))
    pq.write_table(table, tmp_path / "some.parquet")
    assert restore(tmp_path / "some.parquet", scored, tmp_path / "back.parquet") == 3
    with ScoredFile(scored) as first, ScoredFile(tmp_path / "back.parquet") as back:
        assert back.footer == first.footer
        for name in first.schema.names:
            assert back.schema.field(name).equals(first.schema.field(name), check_metadata=True)
        expected = pq.read_table(scored).take(pa.array([5, 3, 7]))
        found = pa.concat_tables(back.tables())
        assert found.select(expected.column_names).equals(expected)
        assert found["mine"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: _set(t, "source_id", pa.array([*range(1, N), 7777])),
            "1 of its 400 sources are",
        ),
        (
            lambda t: _set(t, "source_id", pa.array([1, *range(1, N)])),
            "1 sources are there more than once, such as 1",
        ),
        (lambda t: _set(t, "d4000", pa.array(np.ones(N))), "column 'd4000': differs from 'd4000'"),
        (lambda t: t.take(pa.array([1, 0])).slice(0, 0), None),
        (
            lambda table: table.drop_columns([n for n in table.column_names if "_quantiles" in n]),
            "some.parquet: no column of predictions, such as '",
        ),
    ],
)
def test_a_file_that_was_not_made_from_the_original_is_not_restored(
    made, tmp_path, change, message
):
    scored, _ = made.write(tmp_path)
    table = change(without_notes(pq.read_table(scored)))
    pq.write_table(table, tmp_path / "some.parquet")
    if message is None:
        assert restore(tmp_path / "some.parquet", scored, tmp_path / "back.parquet") == 0
        return
    with pytest.raises(CatalogError, match=message):
        restore(tmp_path / "some.parquet", scored, tmp_path / "back.parquet")
    assert not (tmp_path / "back.parquet").exists()


@pytest.mark.parametrize("ids", [range(1, 31), [f"J{k:02}" for k in range(30)]], ids=["n", "text"])
@pytest.mark.parametrize("threads", [1, 3])
def test_source_that_is_at_two_places_of_a_sorted_file_is_refused(tmp_path, ids, threads):
    ids = list(ids)
    ids[25] = ids[3]
    table = scored_table(np.ones((30, 3)), np.ones((30, 3)), ids=ids)
    pq.write_table(table, tmp_path / "a.scored.parquet", row_group_size=7)
    rules = Rules.parse(rule_text("ew_halpha < 30"))
    with pytest.raises(CatalogError, match="1 of its sources are there more than once, such as"):
        select(tmp_path / "a.scored.parquet", rules, tmp_path / "out.parquet", threads)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    "kept",
    [
        pa.array([True, False, None]),
        pa.array([1.0, 0.0, np.nan]),
        pa.array([1, 0, None]),
        pa.array(["True", "false", None]),
        pa.array(["True", "False", ""]).dictionary_encode(),
    ],
)
def test_true_and_false_are_read_whatever_they_were_kept_in(tmp_path, kept):
    table = scored_table([[10, 30, 1.6]] * 3, [[2, 5, 0.1]] * 3).append_column("support", kept)
    pq.write_table(table, tmp_path / "s.parquet")
    with ScoredFile(tmp_path / "s.parquet") as file:
        assert pa.concat_tables(file.tables(["support"]))["support"].to_pylist() == [
            True,
            False,
            None,
        ]


@pytest.mark.parametrize("value", ["maybe", 2.0])
def test_what_is_neither_true_nor_false_is_refused_where_it_is_read(tmp_path, value):
    table = scored_table([[10, 30, 1.6]], [[2, 5, 0.1]]).append_column("support", [[value]])
    pq.write_table(table, tmp_path / "s.parquet")
    with (
        ScoredFile(tmp_path / "s.parquet") as file,
        one_line(CatalogError, f"s.parquet, column 'support': has {value!r}; expected true or fal"),
    ):
        next(file.tables(["support"]))


@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string(), "dictionary"])
def test_sources_of_known_spectra_are_found_in_text_of_any_encoding(made, tmp_path, kind):
    scored, truth = made.write(tmp_path)
    table = pq.read_table(scored)
    words = pa.array(["ok"] * (N - 1) + ["no cutout"])
    words = words.dictionary_encode() if kind == "dictionary" else words.cast(kind)
    pq.write_table(_set(table, "status", words), tmp_path / "s.parquet")
    assert len(LabelledSources.read(tmp_path / "s.parquet", truth)) == N - 1


def test_a_file_that_says_no_ensemble_is_to_be_restored(made, tmp_path):
    scored, _ = made.write(tmp_path)
    pq.write_table(without_notes(pq.read_table(scored)), tmp_path / "s.parquet")
    with (
        ScoredFile(tmp_path / "s.parquet") as file,
        pytest.raises(EnsembleError, match=r"no longer says which ensemble.*targetsel restore"),
    ):
        file.check_scored_by("mine", "f" * 64)


@pytest.mark.parametrize("name", ["member_mean", "member_cov"])
@pytest.mark.parametrize("value", [None, np.nan, np.inf, -1e9])
def test_a_damaged_posterior_leaves_out_its_source_alone(made, tmp_path, name, value):
    """No covariance has a large negative element on its diagonal; a mean may have any."""
    scored, truth = made.write(tmp_path)
    table = pq.read_table(scored)
    width = table.schema.field(name).type.list_size
    damaged = None if value is None else [value] * width
    pq.write_table(_changed(table, name, 5, damaged), scored)
    known = LabelledSources.read(scored, truth)
    lost = int(name == "member_cov" or value != -1e9)
    assert (len(known), known.left_out.get("with a damaged posterior", 0)) == (N - lost, lost)
    assert np.isfinite(known.posterior().draw(4)).all()


def test_posteriors_that_are_all_damaged_are_refused(made, tmp_path):
    scored, truth = made.write(tmp_path)
    table = pq.read_table(scored)
    width = table.schema.field("member_cov").type.list_size
    nothing = pa.array([[np.nan] * width] * N, table.schema.field("member_cov").type)
    pq.write_table(_set(table, "member_cov", nothing), scored)
    with pytest.raises(CatalogError, match="the posteriors of all its 400 sources"):
        LabelledSources.read(scored, truth)
