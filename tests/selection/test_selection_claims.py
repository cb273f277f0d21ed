"""Outcomes of claims on labelled sources."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, RuleError
from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.claims import ClaimOutcomes
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text, scored_table

RULES = Rules.parse(rule_text("P(ew_halpha > 50) > 0.1"))


@pytest.fixture
def files(tmp_path):
    """Forty sources scored, H alpha at 30 to 69, and the truth: 10 more than is predicted."""
    medians = np.stack([np.full(40, 10.0), np.arange(30.0, 70.0), np.full(40, 1.5)], axis=1)
    table = scored_table(medians, np.tile([2.0, 10.0, 0.1], (40, 1)))
    write_table(table, tmp_path / "known.parquet", footer(table.schema))
    ids = pa.array(np.arange(40, 0, -1))
    true = pa.table({"source_id": ids, "ew_halpha": np.arange(79.0, 39.0, -1.0)})
    write_table(true, tmp_path / "truth.parquet")
    return tmp_path / "known.parquet", tmp_path / "truth.parquet"


def test_calibration_joins_truth_by_id(files):
    found = ClaimOutcomes.read(RULES, "ELG", *files)
    assert len(found) == 40
    assert found.true.tolist() == [median + 10 > 50 for median in range(30, 70)]
    assert found.passed.tolist() == [median > 50 - 12.8 for median in range(30, 70)]
    assert found.probability[20] == pytest.approx(0.5)


@pytest.mark.parametrize("side", ["truth", "scored"])
def test_one_source_of_each_group_of_either_file_is_independent(files, tmp_path, side):
    assert ClaimOutcomes.read(RULES, "ELG", *files).independent.all()
    path = files[side == "truth"]
    table = pq.read_table(path)
    pairs = pa.array([f"galaxy {(each - 1) // 2}" for each in table["source_id"].to_pylist()])
    write_table(table.append_column("group_id", pairs), path, footer(table.schema))
    found = ClaimOutcomes.read(RULES, "ELG", *files).independent
    assert len(found) == 40
    assert (found[::2] != found[1::2]).all()
    assert 5 < found[::2].sum() < 15


def test_weights_of_the_truth_thin_the_independent_sources(files):
    table = pq.read_table(files[1])
    weight = pa.array(np.where(table["source_id"].to_numpy() <= 10, 1.0, 0.0))
    write_table(table.append_column("weight", weight), files[1])
    found = ClaimOutcomes.read(RULES, "ELG", *files).independent
    assert found.tolist() == [True] * 10 + [False] * 30


def test_sources_without_truth_are_left_out(files, tmp_path):
    few = pa.table({"source_id": [1, 2, 999], "ew_halpha": [80.0, float("nan"), 80.0]})
    write_table(few, tmp_path / "few.parquet")
    found = ClaimOutcomes.read(RULES, "ELG", files[0], tmp_path / "few.parquet")
    assert found.true.tolist() == [True, False]


def test_calibration_asks_what_concerns_spectra_not_where_or_how_many(files, tmp_path):
    stars = {"source_id": np.arange(1, 41), "ra": np.zeros(40), "dec": np.zeros(40)}
    write_table(pa.table(stars), tmp_path / "observed.parquet")
    masks = "exclude: observed.parquet\n"
    masks += "footprint: {exclude: [{cone: {ra: 15, dec: 0, radius: 90 deg}}]}"
    rest = "    sample: 0.01\n    limit: {total: 1}\n"
    rest += "  REST: {bit: 0, priority: 1, where: P(ew_halpha > 50) > 0.1, unless: ELG}\n"
    text = rule_text("P(ew_halpha > 50) > 0.5", rest=rest).replace("define: {}", masks)
    rules = Rules.parse(text, str(tmp_path / "rules.yaml"))
    chosen = ClaimOutcomes.read(rules, "ELG", *files).passed
    assert chosen.tolist() == [median > 50 for median in range(30, 70)]
    chosen = ClaimOutcomes.read(rules, "REST", *files).passed
    assert chosen.tolist() == [50 - 12.8 < median <= 50 for median in range(30, 70)]


def test_class_without_a_claim_has_nothing_to_guarantee(files):
    with pytest.raises(RuleError, match="class ELG claims nothing about its members' spectra"):
        ClaimOutcomes.read(Rules.parse(rule_text("dec < 90")), "ELG", *files)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (pa.table({"source_id": [1]}), "neither latents .* nor a proxy such as 'ew_oiii'"),
        (pa.table({"source_id": [1], "d4000": [1.0]}), "no column 'ew_halpha', of which class ELG"),
        (pa.table({"id": [1], "ew_halpha": [1.0]}), "no column 'source_id'"),
        (pa.table({"source_id": [1.5], "ew_halpha": [1.0]}), "column 'source_id': ids are floats"),
        (
            pa.table({"source_id": [1, 1], "ew_halpha": [1.0, 2]}),
            "column 'source_id': ids are repeated",
        ),
        (
            pa.table(
                [[1], [1.0]],
                schema=pa.schema(
                    [
                        ("source_id", pa.int64()),
                        pa.field("ew_halpha", pa.float64(), metadata={"unit": "s"}),
                    ]
                ),
            ),
            "column 'ew_halpha': is in 's'; expected 'Angstrom'. Convert it",
        ),
    ],
)
def test_truth_that_does_not_fit_is_refused(files, tmp_path, truth, message):
    write_table(truth, tmp_path / "bad.parquet")
    with pytest.raises(CatalogError, match=f"bad.parquet.*{message}"):
        ClaimOutcomes.read(RULES, "ELG", files[0], tmp_path / "bad.parquet")
