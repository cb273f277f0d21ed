"""Every column of every file that commands write is in the manual."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

import targetsel as ts
from targetsel.manual import columns
from targetsel.manual.columns import KINDS, SHARED, columns_of
from targetsel.manual.entries import fits, named

BY_NAME = {kind.name: kind for kind in KINDS}
SCORED = ("mock catalog", "scored catalog")


@pytest.fixture(scope="module")
def folder(demonstration, tmp_path_factory):
    """The demonstration with what commands make of it."""
    folder = tmp_path_factory.mktemp("manual")
    scored = folder / "scored.parquet"
    ts.score(demonstration / "catalog.parquet", demonstration / "cutouts", output=scored)
    targets = ts.select(scored, "emission", folder / "targets.parquet")
    ts.export(targets, "deimos", folder / "list.txt", config={"epoch": 2026.5})
    ts.observe(scored, "2arcsec", folder / "observed.parquet")
    ts.randoms("emission", folder / "randoms.parquet", 0.01)
    inclusion, sky = folder / "inclusion.parquet", folder / "map.parquet"
    ts.selection_function(scored, "emission", inclusion, sky)
    return folder


def missing(schema: pa.Schema, *kinds: str) -> list[str]:
    """The columns of a file that none of some kinds declares."""
    known = {each.name for kind in kinds for each in columns_of(BY_NAME[kind])}
    return [name for name in schema.names if not any(fits(each, name) for each in known)]


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("catalog.parquet", ["mock catalog"]),
        ("truth.parquet", ["mock truth"]),
        ("spectra.parquet", ["mock spectra"]),
        ("cutouts/part-00000.parquet", ["cutout store"]),
    ],
)
def test_files_of_the_demonstration_are_told(demonstration, file, kinds):
    if (demonstration / file).exists():
        assert not missing(pq.read_schema(demonstration / file), *kinds)


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("scored.parquet", SCORED),
        ("targets.parquet", ["target list", *SCORED]),
        ("observed.parquet", ["observation", *SCORED]),
        ("randoms.parquet", ["random points"]),
        ("inclusion.parquet", ["selection function"]),
        ("map.parquet", ["map of the selection function"]),
    ],
)
def test_files_that_commands_write_are_told(folder, file, kinds):
    assert not missing(pq.read_schema(folder / file), *kinds)


@pytest.mark.parametrize(
    ("file", "kind"),
    [("list.txt.ids.ecsv", "map of ids"), ("list.txt.priorities.ecsv", "map of priorities")],
)
def test_maps_beside_an_exported_list_are_told(folder, file, kind):
    found = Table.read(folder / file, format="ascii.ecsv")
    assert found.colnames == [each.name for each in columns_of(BY_NAME[kind])]


def test_every_column_says_what_it_is():
    for kind in KINDS:
        if kind.name != "survey catalog":  # archives do not describe all of theirs
            for each in columns_of(kind):
                assert each.meaning or each.name in ("source_id", "redshift"), (kind.name, each)


def test_names_that_are_quick_to_explain_are_explained_in_full():
    light, heavy = (
        {each.name for kind in KINDS if kind.is_light is is_light for each in columns_of(kind)}
        for is_light in (True, False)
    )
    assert light & heavy == SHARED & light


def test_a_column_of_a_line_is_found_by_its_pattern():
    (found,) = named("snr_halpha", [columns.columns])
    assert found.name == "snr_<line>"


def test_the_page_has_every_column_of_every_file(tmp_path):
    columns.write(tmp_path)
    text = (tmp_path / "columns.md").read_text(encoding="utf-8")
    for kind in KINDS:
        section = text.split(f"\n## {kind.name[0].upper()}{kind.name[1:]}\n")[1].split("\n(file-")[
            0
        ]
        assert all(f"`{each.name}` (" in section for each in columns_of(kind))
