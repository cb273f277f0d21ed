"""Lists of sources to leave out, as other surveys and programs write them."""

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.table import Table

from targetsel.errors import RuleError
from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import scored_table

RA, DEC = np.linspace(10.0, 11.0, 30), np.linspace(-5.0, -4.0, 30)


@pytest.fixture
def left_with(tmp_path):
    """Excludes a list of sources, written by `write`, from 30; returns how many are left."""

    def left(write, how="", ids=None):
        write(tmp_path)
        (name,) = (path.name for path in tmp_path.iterdir() if path.stem == "done")
        medians = np.ones((30, 3))
        table = scored_table(medians, medians, ids=ids)
        for column, values in {"ra": RA, "dec": DEC}.items():
            place = table.schema.get_field_index(column)
            table = table.set_column(place, table.schema.field(column), pa.array(values))
        write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
        text = (
            f"schema: targetsel/rules/v1\nname: t\nexclude: [{{file: {name}{how}}}]\n"
            "classes: {A: {bit: 0, priority: 1, where: dec < 90}}\n"
        )
        (tmp_path / "rules.yaml").write_text(text)
        rules = Rules.read(tmp_path / "rules.yaml")
        found = select(tmp_path / "a.scored.parquet", rules, tmp_path / "out.parquet")
        assert sum(found.left_out.values()) == 30 - found.n_targets
        return len(TargetList.read(tmp_path / "out.parquet"))

    return left


def positions(unit, name, ra="ra", dec="dec"):
    def write(folder):
        table = Table({ra: (RA[:10] * u.deg).to(unit), dec: (DEC[:10] * u.deg).to(u.Unit(unit))})
        table.write(folder / name, **({"format": "votable"} if name.endswith("xml") else {}))

    return write


@pytest.mark.parametrize("unit", ["deg", "rad", "arcsec"])
@pytest.mark.parametrize("ending", ["ecsv", "fits", "xml"])
def test_positions_are_converted_from_their_own_unit(left_with, unit, ending):
    write = positions(unit, f"done.{ending}", "coord_ra", "coord_dec")
    assert left_with(write, ", within: 1 arcsec") == 20


def test_positions_in_hours_are_converted(left_with):
    assert left_with(positions("hourangle", "done.ecsv"), ", within: 1 arcsec") == 20


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"ra": [1.0, 2.0], "dec": [3.0, 135.5]}, r"dec 135\.5 deg in row 1 .* off the sphere"),
        ({"ra": ["10:00:00"], "dec": ["-5:00:00"]}, "expected degrees"),
        ({"ra": [1.0], "raj2000": [2.0], "dec": [3.0], "dej2000": [4.0]}, None),
        (
            {"raj2000": [2.0], "ramean": [1.0], "dec": [3.0]},
            "several columns may be the right ascension",
        ),
        (
            {"ra": [1.0, None], "dec": [3.0, 4.0]},
            "no position .* in 1 of 2 rows, the first is row 1",
        ),
        ({"ra": [1.0, 2.0], "dec": [float("nan"), None]}, "in 2 of 2 rows, the first is row 0"),
    ],
)
def test_positions_that_cannot_be_meant_are_refused(left_with, columns, said):
    def write(folder):
        write_table(pa.table(columns), folder / "done.parquet")

    if said is None:
        assert left_with(write, ", within: 1 arcsec") == 30
    else:
        with pytest.raises(RuleError, match=said):
            left_with(write, ", within: 1 arcsec")


def test_positions_in_radians_without_a_unit_are_noticed(left_with):
    rng = np.random.default_rng(1)
    ra, dec = np.radians(rng.uniform(0, 360, 500)), np.radians(rng.uniform(-89, 89, 500))

    def write(folder):
        write_table(pa.table({"ra": ra, "dec": dec}), folder / "done.parquet")

    with pytest.raises(RuleError, match="positions look like radians"):
        left_with(write, ", within: 1 arcsec")


TEXT = [f"J{i:04}" for i in range(30)]
NUMBERS = list(range(1, 31))


@pytest.mark.parametrize(
    ("listed", "catalog"),
    [
        (pa.array([each.encode() for each in TEXT[:10]]), TEXT),
        (pa.array([f"{each}   " for each in TEXT[:10]]), TEXT),
        (pa.array([f"b'{each}'" for each in TEXT[:10]]), TEXT),
        (pa.array(TEXT[:10]).dictionary_encode(), TEXT),
        (pa.array(TEXT[:10], pa.large_string()), TEXT),
        (pa.array(TEXT[:10], pa.string_view()), TEXT),
        (pa.array([float(each) for each in NUMBERS[:10]]), NUMBERS),
        (pa.array([*map(str, NUMBERS[:10]), "012", "x"]), NUMBERS),
        (pa.array([*NUMBERS[:10], None]), NUMBERS),
        (pa.array(NUMBERS[:10]), [str(each) for each in NUMBERS]),
        (pa.array([float(each) for each in NUMBERS[:10]]), [str(each) for each in NUMBERS]),
        (pa.array(NUMBERS[:10], pa.uint8()), NUMBERS),
    ],
)
def test_ids_are_what_they_mean_whatever_they_are_kept_in(left_with, listed, catalog):
    def write(folder):
        write_table(pa.table({"source_id": listed}), folder / "done.parquet")

    assert left_with(write, ids=catalog) == 20


@pytest.mark.parametrize(
    ("listed", "catalog", "said"),
    [
        (pa.array([8283.0, 7330.0]), TEXT, "no source is listed here: its ids, such as 8283, are"),
        (pa.array(["J1", "J2"]), NUMBERS, "text such as 'J1', and those of the catalog"),
        (pa.array([1.5, 2.0]), NUMBERS, r"1\.5 is no whole number"),
        (pa.array([2.0**60]), NUMBERS, "where floats lose digits of ids"),
    ],
)
def test_ids_that_cannot_match_are_refused(left_with, listed, catalog, said):
    def write(folder):
        write_table(pa.table({"source_id": listed}), folder / "done.parquet")

    with pytest.raises(RuleError, match=said):
        left_with(write, ids=catalog)


def test_list_of_other_sources_leaves_out_none(left_with):
    def write(folder):
        write_table(pa.table({"source_id": [100, 200]}), folder / "done.parquet")

    assert left_with(write, ids=NUMBERS) == 30
