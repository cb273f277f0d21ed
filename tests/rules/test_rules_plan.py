"""The steps of a class, from the footprint to the total, and what each lets through."""

import numpy as np
import pyarrow as pa
import pytest
from mocpy import MOC

from targetsel.errors import RuleError
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.selection.membership import apply_rules
from targetsel.selection.target_list import rank
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import scored_table

HEAD = "schema: targetsel/rules/v1\nname: test\nseed: 5\n"


@pytest.fixture
def catalog():
    """Six sources at ra 10, 12, ..., 20 and dec -5, -3, ..., 5, all with posteriors."""
    medians = np.tile([10.0, 30.0, 1.5], (6, 1))
    return scored_table(
        medians,
        np.ones((6, 3)),
        columns={
            "rmag": (pa.array([17.0, 18, 19, 20, 21, None], pa.float32()), "mag"),
            "maskbits": (pa.array([0, 1, 2, 3, 8, None], pa.int32()), ""),
            "flux": (pa.array([1.0, 100.0, 0.0, -1.0, None, np.nan], pa.float32()), "nmgy"),
            "flux_njy": (pa.array([3630.78] * 6, pa.float64()), "nJy"),
            "x": (pa.array([1.0, np.inf, -np.inf, np.nan, None, 2.0]), ""),
        },
    )


def members(catalog, classes: str, head: str = HEAD, file="rules.yaml") -> dict[str, list[int]]:
    rules = Rules.parse(f"{head}classes:\n{classes}", str(file))
    found = apply_rules(rules, catalog)
    return {
        name: found.target_id[found.selected[:, c]].tolist() for c, name in enumerate(found.names)
    }


def chosen(catalog, where: str, **rest) -> list[int]:
    return members(catalog, f'  A: {{bit: 0, priority: 1, where: "{where}"}}\n', **rest)["A"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("has_bit(maskbits, 0)", [2, 4]),
        ("has_bit(maskbits, 0, 3)", [2, 4, 5]),
        ("not has_bit(maskbits, 0, 1)", [1, 5]),  # 6 is not known
        ("finite(x)", [1, 6]),
        ("not finite(x)", [2, 3]),
        ("finite(maskbits)", [1, 2, 3, 4, 5]),
        ("mag(flux) < 20 mag", [2]),
        ("mag(flux) is missing", [3, 4, 5, 6]),
        ("mag(flux_njy) between 22.4999 and 22.5001 mag", [1, 2, 3, 4, 5, 6]),
        ("rmag >= catalog_quantile(rmag, 0.8)", [4, 5]),
        ("rmag > catalog_quantile(rmag, 80 percent) - 2 mag", [3, 4, 5]),
        ("catalog_quantile(rmag, 0.5) > rmag", [1, 2]),
        ("P(ew_halpha > 20 and rmag < catalog_quantile(rmag, 0.5)) > 0.5", [1, 2]),
    ],
)
def test_function_is_true_of(catalog, where, expected):
    assert chosen(catalog, where) == expected


def test_bit_may_have_a_name(catalog):
    head = HEAD + "define: {BRIGHT: 1, MEDIUM: 3}\n"
    assert chosen(catalog, "has_bit(maskbits, BRIGHT, MEDIUM)", head=head) == [3, 4, 5]


def test_sources_in_a_moc_and_near_a_place_are_found(catalog, tmp_path):
    ids = catalog["_healpix_29"].to_numpy()
    assert ids.tolist() == [0, 1000, 2000, 3000, 4000, 5000]
    MOC.from_string("29/1000-3000").save(str(tmp_path / "a.fits"), "fits")
    near = pa.table({"RA": [12.0, 20.0], "DEC": [-3.0, 5.0 + 9 / 3600]})
    write_table(near, tmp_path / "stars.parquet")
    file = tmp_path / "rules.yaml"
    assert chosen(catalog, "in_moc('a.fits')", file=file) == [2, 3, 4]
    assert chosen(catalog, "not in_moc('a.fits')", file=file) == [1, 5, 6]
    assert chosen(catalog, "within('stars.parquet', 10 arcsec)", file=file) == [2, 6]
    assert chosen(catalog, "within('stars.parquet', 8 arcsec)", file=file) == [2]
    head = HEAD + "footprint: {exclude: a.fits}\n"
    assert chosen(catalog, "rmag > 0", head=head, file=file) == [1, 5]


def test_unless_names_classes_whose_members_are_left_to_them(catalog):
    found = members(
        catalog,
        "  A: {bit: 0, priority: 1, where: rmag < 19}\n"
        "  B: {bit: 1, priority: 1, where: ew_halpha > 0, unless: A}\n"
        "  C: {bit: 2, priority: 1, where: ew_halpha > 0, unless: [A, B]}\n",
    )
    assert found == {"A": [1, 2], "B": [3, 4, 5, 6], "C": []}  # of 6 no rmag is known


def test_unless_looks_at_conditions_and_not_at_limits(catalog):
    text = (
        f"{HEAD}classes:\n"
        "  A: {bit: 0, priority: 2, where: rmag < 20, limit: {total: 1}}\n"
        "  B: {bit: 1, priority: 1, where: rmag < 21, unless: A}\n"
    )
    rules = Rules.parse(text)
    table = rank(apply_rules(rules, catalog), rules).table
    assert sorted(table["program"].to_pylist()) == ["A", "B"]


def test_observed_sources_are_left_out_by_id_or_by_position(catalog, tmp_path):
    observed = pa.table(
        {"TARGETID": [2, 2, 99], "other": [5, 6, 1], "ra": [14.0] * 3, "dec": [-1.0] * 3}
    )
    write_table(observed, tmp_path / "seen.parquet")
    file = tmp_path / "rules.yaml"
    everyone = "  A: {bit: 0, priority: 1, where: ew_halpha > 0}\n"
    by_id = HEAD + "exclude: seen.parquet\n"
    assert members(catalog, everyone, by_id, file)["A"] == [1, 3, 4, 5, 6]
    other = HEAD + "exclude: {file: seen.parquet, id: other}\n"
    assert members(catalog, everyone, other, file)["A"] == [2, 3, 4]
    near = HEAD + "exclude: [{file: seen.parquet, within: 1 arcsec}]\n"
    assert members(catalog, everyone, near, file)["A"] == [1, 2, 4, 5, 6]
    of_one = "  A: {bit: 0, priority: 1, where: ew_halpha > 0, exclude: seen.parquet}\n"
    assert members(
        catalog, of_one + everyone.replace("A", "B").replace("0,", "1,", 1), HEAD, file
    ) == {
        "A": [1, 3, 4, 5, 6],
        "B": [1, 2, 3, 4, 5, 6],
    }


def test_exclusion_with_other_ids_than_the_catalog_is_refused(catalog, tmp_path):
    write_table(pa.table({"source_id": ["a"]}), tmp_path / "seen.parquet")
    with pytest.raises(RuleError, match=r"1?: error: .*'source_id' are text such as 'a', and"):
        members(
            catalog,
            "  A: {bit: 0, priority: 1, where: ew_halpha > 0}\n",
            HEAD + "exclude: seen.parquet\n",
            tmp_path / "rules.yaml",
        )


def test_sample_is_a_hash_of_id_seed_and_class():
    n = 2000
    catalog = scored_table(np.full((n, 3), 9.0), np.ones((n, 3)))
    found = members(
        catalog, "  A: {bit: 0, priority: 1, where: ew_halpha > 0, sample: 10 percent}\n"
    )
    expected = np.flatnonzero(uniform(np.arange(1, n + 1), 5, "A", 2)[:, 1] < 0.1) + 1
    assert found["A"] == expected.tolist()
    assert 150 < len(expected) < 250


def test_priority_may_be_an_expression_and_a_source_without_one_is_no_member(catalog):
    rules = Rules.parse(
        f"{HEAD}classes:\n"
        "  A: {bit: 0, priority: 100 * (22 - rmag), where: ew_halpha > 0}\n"
        "  B: {bit: 1, priority: 250, where: ew_halpha > 0}\n"
    )
    table = rank(apply_rules(rules, catalog), rules).table
    assert table["priority"].to_pylist() == [500, 400, 300, 250, 250, 250]
    assert table["program"].to_pylist() == ["A", "A", "A", "B", "B", "B"]
    assert table["target_bits"].to_pylist() == [3, 3, 3, 3, 3, 2]


def test_conditions_come_in_the_fixed_order(catalog, tmp_path):
    write_table(pa.table({"source_id": [2]}), tmp_path / "seen.parquet")
    rules = Rules.parse(
        f"{HEAD}exclude: seen.parquet\n"
        "footprint: {include: {healpix: {nside: 1, pixels: 0}}}\n"
        "classes:\n"
        "  Z: {bit: 1, priority: 1, where: rmag < 18}\n"
        "  A:\n"
        "    sample: 0.5\n"
        "    unless: Z\n"
        "    where: ['P(ew_halpha > 1) > 0.5', 'rmag < 22']\n"
        "    priority: 1\n"
        "    bit: 0\n",
        str(tmp_path / "rules.yaml"),
    )
    formulas = plan(rules, catalog.schema).classes[1]
    steps = ["footprint", "where", "where", "unless", "exclude", "sample"]
    assert [each.step for each in formulas.conditions] == steps
    assert [each.text for each in formulas.conditions][1:3] == [
        "P(ew_halpha > 1) > 0.5",
        "rmag < 22",
    ]
    assert list(plan(rules, catalog.schema).files) == ["seen.parquet"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("in_moc('none.fits')", "5:44: error: no file 'none.fits' in the folder"),
        ("in_moc(none.fits)", "in_moc() takes a file's name in quotes, e.g. in_moc('stars."),
        ("within('rules.yaml', 5 mag)", "the radius of within() must be an angle, e.g. 5 arcsec"),
        ("within('rules.yaml')", "within() takes 2 arguments, not 1"),
        ("has_bit(rmag, 1)", "has_bit() must have a column of integers, not rmag"),
        ("has_bit(maskbits, 63)", "a bit must be a whole number, 0 to 62, not 63"),
        ("has_bit(maskbits, rmag)", "a bit must be a whole number, 0 to 62, not rmag"),
        (
            "mag(rmag) < 20",
            "mag() takes a flux, expected in nJy, Jy or nanomaggy; rmag is in mag; convert it",
        ),
        (
            "rmag > catalog_quantile(rmag, 2)",
            "second argument of catalog_quantile() must be a prob",
        ),
        ("rmag > catalog_quantile(3, 0.5)", "catalog_quantile() of a constant; name a column"),
        ("finite(rmag > 2)", "rmag > 2 is a condition; a number is expected here"),
    ],
)
def test_wrong_use_of_a_function_is_explained(catalog, tmp_path, where, message):
    with pytest.raises(RuleError) as caught:
        chosen(catalog, where, file=tmp_path / "rules.yaml")
    assert message in str(caught.value)
