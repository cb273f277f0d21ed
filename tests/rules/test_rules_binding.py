"""What names, units and types mean for a given catalog."""

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import RuleError
from targetsel.rules import formula as f
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.tables.parquet import described

SCHEMA = pa.schema(
    [
        described("id", pa.int64()),
        described("rmag", pa.float32(), "mag"),
        described("gmag", pa.float64(), "mag(AB)"),
        described("ebv", pa.float32(), "mag"),
        described("size", pa.float64(), "arcsec"),
        described("line", pa.float64(), "nm"),
        described("share", pa.float64()),
        described("odd", pa.float64(), "furlong?"),
        described("star", pa.bool_()),
        described("status", pa.string()),
        described("places", pa.list_(pa.float64())),
        described("ew_halpha", pa.float32(), "Angstrom"),
        described("ew_halpha_std", pa.float32(), "Angstrom"),
        described("ew_oiii", pa.float32(), "Angstrom"),
        described("d4000", pa.float32()),
    ]
    + [
        pa.field(f"{name}_quantiles", pa.list_(pa.float32(), 11), metadata={"normal_scores": ""})
        for name in ("ew_halpha", "ew_oiii", "d4000")
    ]
    + [
        pa.field("ew_oiii_correlation", pa.list_(pa.float32(), 1), metadata={"with": "ew_halpha"}),
        pa.field(
            "d4000_correlation", pa.list_(pa.float32(), 2), metadata={"with": "ew_halpha,ew_oiii"}
        ),
    ]
)


def condition(text: str, **define: str) -> f.Formula:
    definitions = {name: parse(written) for name, written in define.items()}
    return Binder(CatalogColumns(SCHEMA), definitions).condition(parse(text))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("size > 1 arcmin", 60.0),
        ("size > 60", 60),
        ("line > 5000 AA", 500.0),
        ("share < 10 percent", 0.1),
        ("gmag < 22.5 mag", 22.5),
        ("22.5 mag > gmag", 22.5),
        ("gmag < 2 * 11", 22.0),
        ("id == 9007199254740993", 9007199254740993),
        ("rmag < 0.1", float(np.float32(0.1))),
        ("size > 30 arcsec + 1 arcmin", 90.0),
    ],
)
def test_limit_is_folded_into_the_unit_and_precision_of_the_column(text, limit):
    compare = condition(text)
    assert isinstance(compare, f.Compare)
    assert compare.right == f.Constant(pytest.approx(limit, rel=1e-12, abs=0))


def test_not_is_pushed_down_to_the_comparisons():
    assert condition("not (gmag > 20 and not star)") == condition("gmag <= 20 or star")
    assert condition("not gmag between 17 and 20") == condition("gmag < 17 or gmag > 20")
    assert condition("not (gmag is missing)") == condition("gmag is not missing")
    assert condition("not (id in [1, 2])") == condition("id != 1 and id != 2")


def test_defined_name_means_what_its_definition_says():
    direct = condition("gmag - rmag < 0.9 mag and ebv < 0.1")
    assert (
        condition("red and clean", red="gr < 0.9 mag", gr="gmag - rmag", clean="ebv < 0.1")
        == direct
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ew_halfa > 50",
            "unknown column 'ew_halfa'. Did you mean 'ew_halpha' or 'ew_halpha_std'?",
        ),
        (
            "EW_Halpha > 50",
            "unknown column 'EW_Halpha'. Did you mean 'ew_halpha'? (names are case-sensitive)",
        ),
        (
            "zzz > 50",
            "unknown column 'zzz'. The catalog has id, rmag, gmag, ebv, size, line, share, odd and",
        ),
        ("P(ew_halpha) >= 0.8", "P() needs a condition inside: compare ew_halpha with a value"),
        (
            "P(ew_halpha > 5)",
            "P(ew_halpha > 5) is a probability; compare it, e.g. P(ew_halpha > 5) >= 0.8",
        ),
        ("ew_halpha", "ew_halpha is a number, not a condition; compare it, e.g. ew_halpha > 10"),
        (
            "ew_halpha > 50 & ew_oiii",
            "'&' joins conditions, but ew_oiii is a number; did you forget a comparison, "
            "e.g. ew_oiii > 10?",
        ),
        ("rmag < 22.5 Angstrom", "rmag is in mag, the limit is in Angstrom (length)"),
        ("rmag < size", "rmag is in mag, size is in arcsec (angle)"),
        ("rmag + size < 3", "rmag is in mag, size is in arcsec (angle)"),
        ("odd < 3 mag", "odd is in furlong?, the limit is in mag"),
        ("d4000 > 1.6 Angstrom", "d4000 has no unit in this catalog; write the bare number 1.6"),
        ("share < 5 mag", "share has no unit in this catalog; write the bare number 5"),
        ("9**9**9**9**9 > rmag", "constant expression overflows"),
        ("1/0 > rmag", "constant expression has no value"),
        ("2 < 3", "both sides are constants; name a column on one side"),
        (
            "P(rmag < 20 and ebv < 0.1) >= 0.8",
            "P() needs at least one predicted quantity; ebv and rmag are none",
        ),
        ("P(rmag < 20) >= 0.8", "P() needs at least one predicted quantity; rmag is none"),
        (
            "P(d4000 > 1.6) >= 80",
            "a probability is between 0 and 1, not 80; did you mean 0.80 or 80 percent?",
        ),
        ("P(d4000 > 1.6) >= -1", "a probability is between 0 and 1, not -1"),
        ("P(P(d4000 > 1) > 0.5) > 0.5", "P() cannot stand inside P()"),
        (
            "places > 4",
            "column 'places' holds no numbers; the only condition on it must be 'places",
        ),
        (
            "std(rmag) > 3",
            "std() takes the name of a predicted quantity (ew_halpha, ew_oiii, d4000), not rmag.",
        ),
        ("std(ew_oiii) > 3", "this file has no column 'ew_oiii_std'"),
        ("q(d4000, 2) > 1", "the second argument of q() must be a probability between 0 and 1"),
        ("(rmag > 2) is missing", "a condition is never missing; name a column or a number"),
        ("rmag + (ebv > 3) > 4", "ebv > 3 is a condition; a number is expected here"),
        ("size ** ebv > 4", "size is in arcsec; its power must be a plain number"),
        ("P > 3", "'P' is a function; write P(...)"),
        ("2 is missing", "a constant is never missing"),
    ],
)
def test_condition_without_meaning_is_answered(text, message):
    with pytest.raises(RuleError) as caught:
        condition(text)
    assert message in str(caught.value)


def test_p_without_any_posterior_in_the_file_asks_for_scoring():
    reader = Binder(CatalogColumns(pa.schema([("ew_halpha", pa.float32())])))
    with pytest.raises(RuleError, match="this file has none; score the catalog first"):
        reader.condition(parse("P(ew_halpha > 50) >= 0.8"))


def test_definitions_that_double_are_stopped():
    define = {f"a{i}": f"a{i - 1} and a{i - 1}" for i in range(1, 40)}
    with pytest.raises(RuleError, match="more than 256 parts once `define:` is written out"):
        condition("a39", a0="gmag > 1", **define)


@pytest.mark.parametrize(
    ("where", "claim"),
    [
        (["P(ew_halpha > 50 and ew_oiii > 10) >= 0.8"], "ew_halpha > 50 and ew_oiii > 10"),
        (["P(ew_halpha > 50) >= 0.8", "P(d4000 < 1.4) > 0.5"], "ew_halpha > 50 and d4000 < 1.4"),
        (["P(ew_halpha > 50) < 0.2"], "ew_halpha <= 50"),
        (["not P(ew_halpha > 50) >= 0.2"], "ew_halpha <= 50"),
        (["0.2 < P(ew_halpha > 20) < 0.8"], None),
        (["0.2 < P(ew_halpha > 20)", "P(ew_halpha > 20) < 0.8", "d4000 > 1"], "d4000 > 1"),
        (["ew_halpha > 5", "rmag < 20"], "ew_halpha > 5"),
        (["rmag < 20", "std(ew_halpha) < 3"], None),
        (["ew_halpha > 3 * std(ew_halpha)"], None),
        (["ew_halpha > 3 * ew_halpha_std"], None),
        (["q(ew_halpha, 0.16) > 5"], None),
        (["P(ew_halpha > 5) > P(ew_oiii > 5)"], None),
        (["P(ew_halpha > 5) >= 0.5 or rmag < 16"], "ew_halpha > 5 or rmag < 16"),
    ],
)
def test_class_claims_of_its_members(where, claim):
    formulas = tuple(condition(text) for text in where)
    assert f.truth(formulas) == (None if claim is None else condition(claim))


@pytest.mark.parametrize("name", ["rmag", "r_mag", "gMeanKronMag"])
def test_a_column_with_the_name_of_magnitudes_and_no_unit_takes_bounds_in_mag(name):
    columns = CatalogColumns(pa.schema([(name, pa.float32()), ("other", pa.float32())]))
    assert str(columns[name].unit) == "mag"
    assert columns["other"].unit is None


def test_source_id_of_a_catalog_that_calls_it_otherwise_is_an_error_with_its_name_alone():
    named = b'{"columns": {"source_id": "OBJ", "ra": "ra", "dec": "dec"}}'
    schema = pa.schema([described("OBJ", pa.int64())], metadata={"targetsel": named})
    with pytest.raises(RuleError) as error:
        Binder(CatalogColumns(schema)).condition(parse("source_id > 5"))
    assert str(error.value).endswith(
        "unknown column 'source_id'. The id column of this catalog is 'OBJ'."
    )
