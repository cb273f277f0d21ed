"""A rule file to begin with, and the reference of what can be written."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from astropy.table import Table

from targetsel.feature_cells.columns import COLUMNS as CELL_COLUMNS
from targetsel.rules.checking import check
from targetsel.rules.columns import footer
from targetsel.rules.formatting import formatted
from targetsel.rules.plan import plan
from targetsel.rules.reference import sections
from targetsel.rules.rules import Rules
from targetsel.rules.starting import first_rules
from targetsel.scored.columns import CATALOG, scored_columns
from targetsel.selection.membership import apply_rules
from targetsel.sky.positions import healpix_of
from targetsel.tables.columns import schema_of
from targetsel.tables.parquet import described, write_table
from tests.rules.test_rules_lint import SCORED
from tests.selection.scored_by_hand import rule_text, scored_table

N = 40


@pytest.fixture
def scored(tmp_path):
    """Forty sources of 16 to 20 mag, every second a star, with Halpha of 30 give or take 5."""
    magnitude = pa.array(np.linspace(16, 20, N), pa.float32())
    columns = {
        "flux_r": (pa.array(np.full(N, 1e5)), "nJy"),
        "rmag": (magnitude, "mag"),
        "name": (pa.array([f"J{k}" for k in range(N)]), ""),
        "type": (pa.array(["PSF", "EXP"] * (N // 2)), ""),
        "typicality": (pa.array(np.full(N, 0.5)), ""),
        "status": (pa.array(["ok"] * N), ""),
    }
    table = scored_table(
        np.tile([12, 30, 1.2], (N, 1)), np.tile([3, 5, 0.1], (N, 1)), columns=columns
    )
    write_table(table, tmp_path / "sky.scored.parquet", footer(table.schema))
    return tmp_path / "sky.scored.parquet", table


def checked(tmp_path, catalog, schema=None) -> Rules:
    """The first rules for a catalog, which nothing is to be said about."""
    text = first_rules("my.yaml", catalog)
    (tmp_path / "my.yaml").write_text(text)
    assert not check(tmp_path / "my.yaml")
    assert not check(tmp_path / "my.yaml", schema or SCORED)
    assert formatted(text, "my.yaml") == text
    return Rules.read(tmp_path / "my.yaml")


def test_rules_for_a_scored_catalog_use_its_columns_and_select_something(scored, tmp_path):
    path, table = scored
    rules = checked(tmp_path, path, table.schema)
    assert "--catalog sky.scored.parquet\n" in (tmp_path / "my.yaml").read_text()
    where = [str(each) for each in rules["TARGETS"].where]
    assert where[0] == "(type != 'PSF')"
    assert str(rules["TARGETS"].preamble.define["bright"]) == "(rmag < 18.0 mag)"
    found = apply_rules(rules, table).selected[:, 0]
    assert found.tolist() == [k % 2 == 1 and k < 20 for k in range(N)]


@pytest.mark.parametrize("ending", ["fits", "csv", "parquet"])
def test_rules_for_a_catalog_that_is_not_scored_name_what_scoring_adds(tmp_path, ending):
    path = tmp_path / f"sky.{ending}"
    table = pa.table(
        {
            "objID": [1, 2, 3],
            "RAJ2000": [1.0, 2.0, 3.0],
            "DEJ2000": [1.0, 2.0, 3.0],
            "gmag": [18.5, 19.5, 20.5],
            "rmag": [18.0, 19.0, 20.0],
            "morph-type": ["a", "b", "a"],
            "kind": ["SER", "DEV", "SER"],
        }
    )
    if ending == "csv":
        pyarrow.csv.write_csv(table, path)
    elif ending == "fits":
        Table({name: table[name].to_pylist() for name in table.column_names}).write(path)
    else:
        write_table(table, path)
    added = [each.field for each in (*CATALOG, *scored_columns(1, 1))]
    schema = pa.schema([*table.schema, *added])
    rules = checked(tmp_path, path, schema)
    text = (tmp_path / "my.yaml").read_text()
    assert "# - kind in ['DEV', 'SER']" in text
    assert "bright: rmag < 19.0 " in text
    assert "P(emitter) >= 0.8" in [str(each)[1:-1] for each in rules["TARGETS"].where]


def test_rules_for_fluxes_speak_of_their_magnitude(tmp_path):
    fields = [*(each.field for each in CATALOG), described("flux_r", pa.float32(), "nJy")]
    flux = np.full(5, 3631e9 * 10 ** (-0.4 * 20))
    position = np.arange(5.0)
    table = pa.table(
        [np.arange(5), position, position, healpix_of(position, position), flux.astype("f4")],
        schema=pa.schema(fields),
    )
    write_table(table, tmp_path / "sky.parquet")
    rules = first_rules("my.yaml", tmp_path / "sky.parquet")
    assert "bright: mag(flux_r) < 20.0 mag " in rules


def test_rules_for_a_survey_use_light_of_galaxies_in_units_that_are_declared(tmp_path):
    table = Table({"OBJID": [1, 2, 3], "RA": [1.0, 2, 3], "DEC": [1.0, 2, 3]})
    table["TYPE"] = np.array([b"PSF", b"REX", b"DEV"])
    table["GAIA_PHOT_G_MEAN_MAG"] = np.array([0, 19, 0], "f4")  # 0: Gaia knows no such source
    table["FLUX_R"] = np.array([3, 10, 30], "f4")  # nanomaggies, as Legacy Surveys do not say
    table.write(tmp_path / "sweep.fits")
    text = first_rules("my.yaml", tmp_path / "sweep.fits")
    assert "bright: FLUX_R > 10 " in text
    assert "- TYPE != 'PSF'" in text


def test_rules_without_a_catalog_use_what_every_scored_file_has(tmp_path):
    rules = checked(tmp_path, None)
    assert [each.name for each in rules.classes] == ["TARGETS", "CONTROL"]
    assert rules.name == "my"


KNOWN = schema_of([*CATALOG, *scored_columns(1, 1)])
OF_CATALOG = pa.schema(
    [
        *(described(f"{band}mag", pa.float32(), "mag") for band in "gr"),
        *(described(f"flux_{band}", pa.float32(), "nJy") for band in "gr"),
        pa.field("maskbits", pa.int32()),
        pa.field("type", pa.string()),
        *(each.field for each in CELL_COLUMNS),
    ]
)
EXAMPLES = [each for entries in sections().values() for each in entries]


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda each: each.written)
def test_every_example_of_the_reference_is_a_condition_without_remarks(entry, tmp_path):
    (tmp_path / "stars.moc.fits").write_bytes(moc())
    stars = pa.table({"ra": [1.0], "dec": [2.0]})
    write_table(stars, tmp_path / "stars.parquet")
    text = rule_text("typicality > 0.001").replace("'typicality > 0.001'", f'"{entry.example}"')
    (tmp_path / "a.yaml").write_text(text)
    schema = pa.schema([*KNOWN, *OF_CATALOG])
    rules = Rules.read(tmp_path / "a.yaml")
    empty = plan(rules, schema).classes[0]
    assert len(empty.conditions) == 1
    assert len(apply_rules(rules, schema.empty_table())) == 0
    about_itself = ("extrapolation", "ignores the uncertainty")
    remarks = [str(each) for each in check(tmp_path / "a.yaml", schema).remarks]
    assert [each for each in remarks if not any(word in each for word in about_itself)] == []
    assert entry.help
    assert entry.written


def moc() -> bytes:
    """A region file of a few cells."""
    from io import BytesIO

    from astropy.io import fits

    cells = fits.BinTableHDU.from_columns([fits.Column("UNIQ", "1K", array=[4 * 4**3 + 5])])
    cells.header.update(ORDERING="NUNIQ", COORDSYS="C", MOCORDER=3, PIXTYPE="HEALPIX")
    whole = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), cells]).writeto(whole)
    return whole.getvalue()
