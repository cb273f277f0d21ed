"""Selection functions that do not fit the list, as users would give them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError
from targetsel.feedback.inclusion import inclusion_of
from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import FOOTER_KEY, write_table
from tests.feedback.observed_by_hand import RULES, emitters, write_spectra

IDS = np.arange(101, 181)
CHANCE = np.linspace(0.1, 1.0, 80)


def table_of(targets, **changed):
    ids = {name: targets.table[name].combine_chunks() for name in ("target_id", "source_id")}
    both = {"inclusion_STRONG": CHANCE, "inclusion_WEAK": CHANCE}
    return pa.table(ids | both | changed)


def written(folder, table, footer=None):
    path = folder / "inclusion.parquet"
    write_table(table, path, footer or {"format": "targetsel/inclusion/v1"})
    return path


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string(), pa.int32()])
def test_ids_of_any_kind_and_order_find_their_probability(tmp_path, kind):
    targets = emitters()
    order = pa.array(np.random.default_rng(0).permutation(80))
    ids = targets.table["target_id"].combine_chunks().cast(kind)
    path = written(tmp_path, table_of(targets, target_id=ids).take(order))
    found = inclusion_of(targets, path)
    assert found.known
    assert found.of_class == pytest.approx(CHANCE)


def test_a_row_without_an_id_is_no_target(tmp_path):
    targets = emitters()
    table = table_of(targets)
    more = pa.table(
        {name: pa.nulls(1, table.schema.field(name).type) for name in table.schema.names}
    )
    path = written(tmp_path, pa.concat_tables([more, table]))
    assert inclusion_of(targets, path).of_class == pytest.approx(CHANCE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "several rows of the target"),
        (lambda t: t.slice(0, 60), "lacks 20 of the list's 80 targets"),
        (lambda t: t.slice(0, 0), "lacks 80 of the list's 80 targets"),
        (lambda t: t.drop_columns(["target_id"]), "no column 'target_id'"),
        (lambda t: t.drop_columns(["inclusion_WEAK"]), "no column 'inclusion_WEAK'"),
        (lambda t: t.set_column(1, "source_id", pa.array(IDS + 1)), "Give that of this list"),
        (lambda t: t.set_column(0, "target_id", pa.array(IDS + 0.5)), "target_id"),
        (lambda t: t.set_column(0, "target_id", pa.array([[1]] * 80)), "target_id"),
        (lambda t: t.set_column(2, "inclusion_STRONG", pa.array(["1"] * 80)), "expected numbers"),
        (lambda t: t.set_column(2, "inclusion_STRONG", pa.array([True] * 80)), "expected numbers"),
        (lambda t: t.set_column(2, "inclusion_STRONG", pa.array(CHANCE * 100)), "is 10 for"),
        (
            lambda t: t.set_column(2, "inclusion_STRONG", pa.nulls(80, pa.float64())),
            "is nan for 40",
        ),
    ],
)
def test_files_that_state_no_inclusion_of_this_list_are_refused(tmp_path, change, message):
    path = written(tmp_path, change(table_of(emitters())))
    with pytest.raises(CatalogError, match=message):
        ts.outcomes(emitters(), truth=write_spectra(tmp_path, IDS), inclusion=path)


def test_a_selection_function_by_other_rules_is_refused(tmp_path):
    targets = emitters()
    assert targets.footer["rules_sha256"]
    path = written(tmp_path, table_of(targets), {"rules_sha256": "1" * 64})
    with pytest.raises(CatalogError, match="by other rules than the list"):
        inclusion_of(targets, path)
    footer = json.loads(pq.read_schema(path).metadata[FOOTER_KEY])
    path = written(
        tmp_path, table_of(targets), footer | {"rules_sha256": targets.footer["rules_sha256"]}
    )
    assert inclusion_of(targets, path).known


def test_claims_of_a_class_with_a_random_share_are_tested(tmp_path):
    text = RULES.replace(
        "    where: P(ew_halpha > 50",
        "    limit: {total: 99, random: 0.5}\n    where: P(ew_halpha > 50",
    )
    given = emitters(inclusion_STRONG=(CHANCE, ""))
    targets = TargetList(given.table, given.footer | {"rules_files": [["by-hand.yaml", text]]})
    truth = write_spectra(tmp_path, IDS, ew_halpha=np.full(80, 60.0))
    found = ts.outcomes(targets, truth=truth)
    assert [each.purity.value for each in found.classes] == [1.0, 1.0]
