"""targetsel evaluate, as it is typed."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from tests.cli.typed import contents
from tests.report.sky_by_hand import RULES, sky


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: scored sources, their truth and a rule file."""
    sky(80).write(tmp_path)
    (tmp_path / "old.yaml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _words(*more):
    return ("evaluate", "known.scored.parquet", "--truth", "truth.parquet", "-o", "out", *more)


def test_evaluate_writes_a_table_and_a_page(targetsel, folder):
    said = targetsel(*_words("--rules", "old.yaml", "--claim", "d4000 > 1.5"))
    assert said.status == 0
    assert said.out.splitlines()[-1] == "page written to out/evaluation.html"
    assert sorted(each.name for each in (folder / "out").iterdir()) == [
        "claims.parquet", "evaluation.html", "evaluation.parquet",
    ]  # fmt: skip
    page = (folder / "out" / "evaluation.html").read_text()
    assert "P(Dn4000 &gt; 1.5)" in page
    assert "test: OLD" in page
    assert "P(Dn4000 &gt; 1.6)" not in page


def test_evaluate_says_by_kind_how_many_claims_are_off(targetsel, folder):
    lines = targetsel(*_words("--rules", "old.yaml", "--joint")).out.splitlines()
    assert lines[1].startswith("joint departure of proxies: ")
    assert lines[2].startswith("farthest: ew_oiii and ew_halpha, stated -0.00, observed -0.15")
    heading = next(k for k, line in enumerate(lines) if line.startswith("kind of claim"))
    n = {line[:18].strip(): line[18:].split()[0] for line in lines[heading + 1 : heading + 10]}
    assert n["single line"] == "9"
    assert n["and"] == n["or"] == n["sum"] == n["difference"] == "3"
    assert n["ratio"] == n["class of rules"] == "1"


def test_a_file_without_correlations_is_evaluated_but_for_what_needs_them(targetsel, folder):
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "known.scored.parquet")
    lost = [name for name in table.column_names if name.endswith("_correlation")]
    pq.write_table(table.drop_columns(lost), folder / "known.scored.parquet")
    said = targetsel(*_words("--rules", "old.yaml", "--claim", "d4000 > 1.5"))
    assert said.status == 0
    assert "joint departure" not in said.out
    assert "single line" in said.out
    page = (folder / "out" / "evaluation.html").read_text()
    for left_out in ("the joint test of proxies", "a drawn claim of the kind &#x27;and&#x27;"):
        assert f"Left out: {left_out}:" in page


def test_evaluate_again_writes_the_same_bytes(targetsel, folder):
    words = _words("--rules", "old.yaml", "--claim", "d4000 > 1.5")
    targetsel(*words)
    before = contents(folder / "out")
    assert targetsel(*words).status == 0
    assert contents(folder / "out") == before


def test_a_bad_claim_is_refused_and_nothing_is_written(targetsel, folder):
    before = contents(folder)
    said = targetsel(*_words("--claim", "d400 > 1.6"))
    assert said.status == 2
    assert "unknown column 'd400'. Did you mean 'd4000'" in said.err
    assert contents(folder) == before


def test_a_truth_of_other_sources_is_refused_in_one_line(targetsel, folder):
    import pyarrow.parquet as pq

    truth = pa.table({"source_id": [901, 902], "d4000": [1.5, 1.6]})
    pq.write_table(truth, folder / "truth.parquet")
    said = targetsel(*_words())
    assert said.status == 2
    assert said.err == (
        "truth.parquet: none of its 2 ids (the first is '901') is in known.scored.parquet (the "
        "first there is '1'). Use the same ids in both.\n"
    )


def test_evaluate_prints_the_worst_cell_beside_chance_where_sources_are_enough(targetsel, folder):
    assert "by chance alone" not in targetsel(*_words()).out  # of 80
    sky(240).write(folder)
    said = targetsel(*_words()).out
    assert "in the worst of 4 cells" in said
    assert re.search(r"^all proxies +\d+\.\d% +\d+\.\d% to \d+\.\d%$", said, re.MULTILINE)
