"""The commands around select, as they are typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.claims import count_shared
from targetsel.selection.guarantees import Guarantee
from targetsel.selection.reports.tuning import tune
from targetsel.tables.parquet import read_footer, write_table
from tests.cli.typed import contents
from tests.selection.scored_by_hand import rule_text, scored_table

N = 60
KNOWN = ("--labelled", "known/known.scored.parquet", "--truth", "known/truth.parquet")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Sixty scored sources with H alpha at 31 to 90, as many others that are like them and have a
    truth, and two rule files."""
    up = np.arange(31.0, 31.0 + N)
    medians = np.stack([np.full(N, 10.0), up, np.full(N, 1.5)], axis=1)
    table = scored_table(medians, np.tile([2.0, 10.0, 0.1], (N, 1)))
    write_table(table, tmp_path / "sky.scored.parquet", footer(table.schema))
    ids = np.arange(1001, 1001 + N)
    (tmp_path / "known").mkdir()
    write_table(
        table.set_column(0, table.schema.field(0), pa.array(ids)),
        tmp_path / "known" / "known.scored.parquet",
    )
    write_table(pa.table({"source_id": ids, "ew_halpha": up}), tmp_path / "known" / "truth.parquet")
    rank = "    rank: P(ew_halpha > 50)\n"
    (tmp_path / "a.yaml").write_text(rule_text("dec < 90", "P(ew_halpha > 50) >= 0.5", rest=rank))
    (tmp_path / "b.yaml").write_text(rule_text("dec < 90", "P(ew_halpha > 50) >= 0.9", rest=rank))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_funnel_counts_every_condition(targetsel, folder):
    said = targetsel("funnel", "--rules", "a.yaml")
    assert said.status == 0
    assert said.out.splitlines() == [
        "ELG: 41 of 60 sources",
        "  condition                 passes alone  cumulatively  missing  only this rejects",
        "  dec < 90                            60            60        0                  0",
        "  P(ew_halpha > 50) >= 0.5            41            41        0                 19",
    ]


def test_explain_shows_the_truth_table_of_a_source(targetsel, folder):
    said = targetsel("explain", "--rules", "a.yaml", "--id", "10")
    assert said.out.splitlines() == [
        "ELG: kept out by P(ew_halpha > 50) >= 0.5",
        "  condition                    is     value  threshold  margin (sigma)      P",
        "  dec < 90                   true  -3.47458         90               -      -",
        "  P(ew_halpha > 50) >= 0.5  false  0.158655        0.5           -1.00  0.159",
    ]


def test_tune_prints_a_bound_that_can_be_copied_into_the_rules(targetsel, folder):
    said = targetsel("tune", "--rules", "a.yaml", "--class", "ELG", "--targets", "25")
    assert said.out.splitlines()[0].split("  ")[0] == "bound on P(ew_halpha > 50)"
    rows = {line.split()[1]: line.split()[2:] for line in said.out.splitlines()[1:]}
    assert rows["0.94"][:2] == ["tuned", "25"]
    forecast = targetsel("forecast", "--rules", "a.yaml").out.splitlines()[1].split()
    assert rows["0.5"][:3] == ["now", *forecast[1:3]]
    copied = Rules.parse(rule_text("P(ew_halpha > 50) >= 0.94"))
    assert tune(copied, "ELG", 25, folder / "sky.scored.parquet").n_written == 25


def test_tune_says_when_there_are_no_more(targetsel, folder):
    said = targetsel("tune", "--rules", "a.yaml", "--class", "ELG", "--targets", "100")
    *_, loosest, note = said.out.splitlines()
    assert loosest.split()[2:4] == ["tuned", "60"]
    assert note.startswith("No bound gives more")


def test_forecast_has_intervals_once_it_is_calibrated(targetsel, folder):
    said = targetsel("forecast", "--rules", "a.yaml")
    _, line, note = said.out.splitlines()
    assert line.split()[:2] == ["ELG", "41"]
    assert note.startswith("Without labelled sources there are no intervals")
    said = targetsel("forecast", "--rules", "a.yaml", *KNOWN)
    assert " to 41.0) " in said.out.splitlines()[1]


def test_half_a_calibration_is_refused(targetsel, folder):
    said = targetsel("forecast", "--rules", "a.yaml", "--truth", "truth.parquet")
    assert said.status == 2
    assert said.err.startswith("--labelled is missing")


def test_diff_of_rules_and_of_lists_agree(targetsel, folder):
    of_rules = targetsel("diff", "a.yaml", "b.yaml").out
    assert of_rules.splitlines() == [
        "class  before  after  entered  left",
        "ELG        41     28        0    13",
        "ELG: left, kept out now by",
        "         13  P(ew_halpha > 50) >= 0.9",
    ]
    for name in "ab":
        targetsel("select", "--rules", f"{name}.yaml", "-o", f"{name}.parquet")
    said = targetsel("diff", "a.parquet", "b.parquet", "--scored", "sky.scored.parquet")
    assert said.out == of_rules + "28 sources in both lists\n"
    assert "Name the scored catalog" in targetsel("diff", "a.parquet", "b.parquet").out
    said = targetsel("diff", "a.parquet", "b.yaml")
    assert (said.status, said.out) == (2, "")
    assert "expected two rule files, or two target lists" in said.err


def test_density_counts_targets_and_neighbours(targetsel, folder):
    targetsel("select", "--rules", "a.yaml", "-o", "a.parquet")
    said = targetsel("density", "a.parquet", "--reach", "60")
    assert [line.split()[0] for line in said.out.splitlines()] == [
        "class",
        "all",
        "ELG",
        "Densities",
    ]
    assert "nside 64 that hold a target, over their area in the footprint; neigh" in said.out


def test_randoms_are_made_or_read(targetsel, folder):
    said = targetsel("randoms", "--rules", "a.yaml", "--per-deg2", "0.01")
    assert "ELG: conditions on columns that the points lack are left out: dec < 90" not in said.out
    assert (
        "ELG: conditions on columns that the points lack are left out: P(ew_halpha > 50) >= 0.5"
        in said.out
    )
    assert said.out.endswith("413 of 413 points written to a.randoms.parquet\n")
    said = targetsel("randoms", "a.randoms.parquet", "--rules", "a.yaml", "-o", "again.parquet")
    again, first = (pq.read_table(f"{name}.parquet") for name in ("again", "a.randoms"))
    assert again.equals(first)
    said = targetsel("randoms", "--rules", "a.yaml")
    assert (said.status, said.err.split(",")[0]) == (2, "randoms: expected POINTS")


def test_selection_function_writes_a_file_of_targets_and_a_map(targetsel, folder):
    said = targetsel("selection-function", "--rules", "a.yaml")
    assert said.status == 0
    assert len(pq.read_table("a.inclusion.parquet")) == 41
    assert pq.read_table("a.inclusion-map.parquet")["candidates_ELG"].to_pylist() == [41]


@pytest.mark.parametrize(
    "words",
    [
        ("funnel", "--rules", "a.yaml"),
        ("explain", "--rules", "a.yaml", "--id", "1"),
        ("tune", "--rules", "a.yaml", "--class", "ELG", "--targets", "5"),
        ("forecast", "--rules", "a.yaml"),
        ("diff", "a.yaml", "b.yaml"),
        ("selection-function", "--rules", "a.yaml"),
    ],
)
@pytest.mark.parametrize("fault", ["no scored file", "damaged", "column is missing"])
def test_faults_are_one_line_and_leave_nothing_behind(targetsel, folder, words, fault):
    scored = folder / "sky.scored.parquet"
    if fault == "no scored file":
        scored.unlink()
    elif fault == "damaged":
        scored.write_bytes(scored.read_bytes()[:5000])
    else:
        (folder / "a.yaml").write_text(rule_text("ew_halfa > 5"))
    before = contents(folder)
    said = targetsel(*words)
    assert (said.status, said.out) == (2, "")
    assert len(said.err.splitlines()) == (3 if fault == "column is missing" else 1), said.err
    assert contents(folder) == before


def test_guarantee_takes_a_calibration_and_sets_the_bound(targetsel, folder):
    promise = "    guarantee: {purity: 0.9, kind: average}\n"
    (folder / "c.yaml").write_text(rule_text("P(ew_halpha > 50) >= 0.1", rest=promise))
    said = targetsel("select", "--rules", "c.yaml")
    assert said.status == 2
    assert said.err.splitlines()[0].startswith(
        "c.yaml:10:16: error: the purity of ELG can only be guaranteed with sources of known"
    )
    # Of 53 labelled sources that obey 13 are false; 40 true and b false ones are let in where
    # (1 + b) / 54 <= 0.1 (40 + b) / 53: b is 3 and the fourth, at H alpha of 47, sets the bound.
    assert targetsel("select", "--rules", "c.yaml", *KNOWN).status == 0
    footer = read_footer(folder / "c.targets.parquet")
    assert footer["counts"] == {"ELG": 43}
    assert footer["guarantees"]["ELG"]["n_false"] == 3
    said = targetsel("forecast", "--rules", "c.yaml", *KNOWN)
    assert said.out.splitlines()[1].split()[:2] == ["ELG", "43"]


def test_select_says_what_it_guarantees_and_the_footer_holds_the_same(targetsel, folder):
    promise = "    guarantee: {purity: 0.7}\n"
    (folder / "c.yaml").write_text(rule_text("P(ew_halpha > 50) >= 0.1", rest=promise))
    said = targetsel("select", "--rules", "c.yaml", *KNOWN)
    footer = read_footer(folder / "c.targets.parquet")["guarantees"]["ELG"]
    found = Guarantee(**footer)
    assert (found.kind, found.confidence, found.n_calibration) == ("list", 0.9, 53)
    # The 40 true ones and b false ones pass where the upper bound on b of 40 + b is at most 0.3.
    b = max(b for b in range(14) if stats.beta.ppf(0.9, b + 1, 40) <= 0.3)
    assert (found.n_false, found.n_beyond, found.n_selected) == (b, 40 + b, 40 + b)
    assert found.bound == pytest.approx(stats.beta.ppf(0.9, b + 1, 40))
    assert found.n_false_at_most == stats.binom.ppf(0.9, 40 + b, 0.3)
    assert f"ELG: {found.text}" in said.out.splitlines()
    assert "trying K rules on the same sources multiplies its risk by up to K" in said.out


def test_a_guarantee_says_how_many_targets_it_knows_and_refuses_to_be_about_them_alone(
    targetsel, folder
):
    promise = "    guarantee: {purity: 0.7}\n"
    (folder / "c.yaml").write_text(rule_text("P(ew_halpha > 50) >= 0.1", rest=promise))
    truth = pq.read_table(folder / "known" / "truth.parquet")
    write_table(truth.set_column(0, "source_id", pa.array(np.arange(1, N + 1))), "own.parquet")
    own = ("--labelled", "sky.scored.parquet", "--truth", "own.parquet")
    said = targetsel("select", "--rules", "c.yaml", "sky.scored.parquet", *own)
    assert said.status == 2
    assert said.err.splitlines() == [
        f"sky.scored.parquet: all {N} sources of sky.scored.parquet are among its sources of known "
        "spectra, so that a purity guaranteed with them says nothing that is not known. Guarantee "
        "it with other sources, or choose from others."
    ]
    write_table(pq.read_table("own.parquet").slice(0, 59), "part.parquet")
    part = ("--labelled", "sky.scored.parquet", "--truth", "part.parquet")
    said = targetsel("select", "--rules", "c.yaml", "sky.scored.parquet", *part)
    line = f"59 of the {N} sources in sky.scored.parquet are among them: "
    assert said.status == 0
    assert line in said.out
    assert read_footer("c.targets.parquet")["guarantees"]["ELG"]["n_shared"] == 59
    assert line in targetsel("forecast", "--rules", "a.yaml", "sky.scored.parquet", *part).out
    said = targetsel("select", "--rules", "c.yaml", "sky.scored.parquet", *KNOWN)
    assert said.status == 0
    assert "are among them" not in said.out
    assert read_footer("c.targets.parquet")["guarantees"]["ELG"]["n_shared"] == 0


def test_sources_of_one_number_in_two_catalogs_are_the_same_only_at_one_place(folder):
    table = pq.read_table("sky.scored.parquet")
    known = Path(KNOWN[1]), Path(KNOWN[3])
    assert count_shared(Path("sky.scored.parquet"), known) == (0, N)
    ids = pa.array(np.arange(1001, 1001 + N).astype(str))
    write_table(table.set_column(0, "source_id", ids), "text.scored.parquet")
    assert count_shared(Path("text.scored.parquet"), known) == (N, N)
    dec = table["dec"].to_numpy() + np.where(np.arange(N) < 10, 0.0, 1.0)
    moved = table.set_column(0, "source_id", ids).set_column(
        2, table.schema.field("dec"), dec[None]
    )
    write_table(moved, "moved.scored.parquet")
    assert count_shared(Path("moved.scored.parquet"), known) == (10, N)
