"""Notes of several people, joined."""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError
from targetsel.inspection.merging import cohen, fleiss
from targetsel.inspection.notes import read_notes

HEAD = "source_id,ra,dec,VI_scanner,VI_quality,VI_issue,VI_z,VI_spectype,VI_comment,VI_time"


def written(path, *rows, head=HEAD):
    path.write_text("\n".join((head, *rows)) + "\n")
    return path


@pytest.fixture
def two(tmp_path):
    one = written(
        tmp_path / "one.csv",
        "7,10.5,-3,Ada,4,,0.100,GALAXY,,2027-01-01",
        '8,11.5,-3,Ada,4,R,0.200,GALAXY,"a ring, ""faint""",2027-01-01',
        "90,12.5,-3,Ada,1,,,,,2027-01-01",
    )
    other = written(
        tmp_path / "other.csv",
        "8,11.5,-3,Bea,1,S,0.900,QSO,,2027-01-01",
        "7,10.5,-3,Bea,3,,0.102,GALAXY,,2027-01-01",
    )
    return one, other


def test_people_who_agree_give_a_redshift_and_those_who_do_not_a_dispute(two):
    rows = {row["source_id"]: row for row in ts.inspect_merge(two).table.to_pylist()}
    assert list(rows) == [7, 8, 90]
    assert rows[7]["redshift"] == pytest.approx(0.101)
    assert (rows[7]["quality"], rows[7]["dispute"], rows[7]["spectral_type"]) == (
        3.5,
        None,
        "GALAXY",
    )
    assert rows[8]["dispute"] == "quality, redshift, type"
    assert (rows[8]["redshift"], rows[8]["issue"]) == (None, "RS")
    assert rows[8]["comment"] == 'Ada: a ring, "faint"'
    assert (rows[90]["n_inspected"], rows[90]["redshift"]) == (1, None)


def test_the_order_of_the_files_does_not_matter(two, tmp_path):
    ts.inspect_merge(two, tmp_path / "a.parquet")
    ts.inspect_merge(two[::-1], tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_of_two_notes_of_one_person_the_newer_counts(tmp_path):
    old = written(tmp_path / "old.csv", "7,,,Ada,1,,,,,2027-01-01")
    new = written(tmp_path / "new.csv", "7,,,Ada,4,,,,,2027-01-02")
    for files in ([old, new], [new, old]):
        assert ts.inspect_merge(files).table["quality"].to_pylist() == [4.0]


@pytest.mark.parametrize("since", ["", "Redrock_deltachi2,"])
def test_files_of_prospect_are_read_by_their_targetid(since, tmp_path):
    """Those of its versions before 1.2.0 have 15 columns, and 16 since."""
    names = (
        "TARGETID,EXPID,NIGHT,TILEID,Spec_version,Redrock_version,Template_version,"
        f"Redrock_spectype,Redrock_z,{since}VI_scanner,VI_quality,VI_issue,VI_z,VI_spectype,"
        "VI_comment"
    )
    chi = since and "512.7,"
    rows = [
        f"39627652591521181,-1,-1,-1,-1,-1,-1,GALAXY,0.1,{chi} ,-1,,,,no quality",
        f'39627652591521182,12345,20200703,65432,0.33.3,0.22.2,1.0,STAR,0.0003,{chi}VER,4,C,'
        '0.0004,STAR,"a comment, with a comma"',
    ]  # fmt: skip
    path = written(tmp_path / "vi.csv", *rows, head=names)
    first, second = read_notes(path)
    assert (first.source_id, first.quality, first.scanner) == ("39627652591521181", None, "vi")
    assert (second.quality, second.issue, second.redshift) == (4, "C", 0.0004)
    assert second.comment == "a comment, with a comma"
    assert ts.inspect_merge(path).table["source_id"].to_pylist() == [
        39627652591521181,
        39627652591521182,
    ]


def test_ids_with_leading_zeros_stay_text_as_in_their_catalog(tmp_path):
    path = written(tmp_path / "one.csv", "007,,,Ada,4,,,,,", "7,,,Ada,1,,,,,")
    rows = ts.inspect_merge(path).table.to_pylist()
    assert [(row["source_id"], row["quality"]) for row in rows] == [("007", 4.0), ("7", 1.0)]


def test_kappa_is_one_for_people_who_agree_and_zero_for_chance():
    assert cohen("a", "b", [(4, 4), (0, 0), (2, 2)]).kappa == 1
    assert cohen("a", "b", [(4, 4), (4, 0), (0, 4), (0, 0)]).kappa == 0
    assert math.isnan(cohen("a", "b", [(4, 4)]).kappa)
    assert fleiss([[4, 4], [0, 0]]).kappa == 1
    # Two people on two sources, agreeing on one: P = 1/2, Pe = (3/4)^2 + (1/4)^2 = 5/8.
    assert fleiss([[4, 4], [4, 0]]).kappa == pytest.approx((1 / 2 - 5 / 8) / (1 - 5 / 8))
    assert fleiss([[4], [0]]).n_sources == 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("7,,,Ada,9,,,,,", "VI_quality is 9, expected 0 to 4"),
        ("7,,,Ada,good,,,,,", "VI_quality is 'good', expected a number"),
        ("7,,,Ada,3,X,,,,", "VI_issue is 'X'"),
        ("7,,,Ada,3,,far,,,", "VI_z is 'far'"),
        ("7,,,Ada,3,,inf,,,", "VI_z is 'inf'"),
        ("7,,,Ada,3,,-1,,,", "VI_z is -1, expected a redshift above -1"),
        (",,,Ada,3,,,,,", "has no id"),
        ("7.0,,,Ada,3,,,,,", "the id is '7.0', a float"),
        ("3.96276E+16,,,Ada,3,,,,,", "the id is '3.96276E\\+16', a float"),
        ("7,Ada", "has 2 cells, expected 10"),
        ('7,,,Ada,3,,,,"open', "is no CSV"),
    ],
)
def test_a_row_that_is_no_note_is_refused_with_its_number(row, said, tmp_path):
    path = written(tmp_path / "bad.csv", row)
    with pytest.raises(CatalogError, match=said):
        ts.inspect_merge(path)


def test_a_table_of_something_else_is_refused(tmp_path):
    path = written(tmp_path / "x.csv", "1,2", head="a,b")
    with pytest.raises(CatalogError, match="expected VI_quality"):
        ts.inspect_merge(path)
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogError, match="UTF-8"):
        ts.inspect_merge(path)


def test_select_knows_the_sources_to_which_people_gave_a_redshift(sky, tmp_path):
    listed = ts.read(sky / "bright.targets.parquet")
    first, second = (int(each) for each in listed["source_id"][:2])
    path = written(tmp_path / "one.csv", f"{first},,,Ada,4,,0.1,,,", f"{second},,,Ada,1,,0.1,,,")
    output = tmp_path / "inspected.parquet"
    ts.inspect_merge(path, output)
    again = ts.select(sky / "catalog.scored.parquet", sky / "bright.yaml", known=output)
    assert {*listed["source_id"]} - {*again["source_id"]} == {first}


def test_rules_exclude_what_was_inspected(sky, tmp_path):
    ids = [int(each) for each in ts.read(sky / "bright.targets.parquet")["source_id"]]
    path = written(tmp_path / "one.csv", *(f"{each},,,Ada,4,,0.1,,," for each in ids[:5]))
    ts.inspect_merge(path, sky / "inspected.parquet")
    rules = (sky / "bright.yaml").read_text() + "    exclude: inspected.parquet\n"
    (sky / "rest.yaml").write_text(rules)
    again = ts.select(sky / "catalog.scored.parquet", sky / "rest.yaml")
    assert {*again["source_id"]} == {*ids[5:]}


def test_comments_stay_text_of_any_kind(tmp_path):
    path = written(tmp_path / "one.csv", '7,,,Ada,4,,,,"=HYPERLINK(""x"")",')
    table = ts.inspect_merge(path, tmp_path / "out.parquet").table
    assert table["comment"].to_pylist() == ['Ada: =HYPERLINK("x")']
    assert pa.types.is_string(pq.read_schema(tmp_path / "out.parquet").field("comment").type)
