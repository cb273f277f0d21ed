"""Target lists as other programs write them: other units and types, without footer or units."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from astropy.io import fits
from astropy.table import Table
from typer.testing import CliRunner

from targetsel.cli.handoff import export, import_assignment
from targetsel.errors import CatalogError, HandoffError
from targetsel.handoff.export import check
from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import described
from tests.handoff.assigned_by_hand import write_fba
from tests.handoff.lists_by_hand import target_list
from tests.handoff.tools_by_hand import exported


def in_another_unit(name, values, unit, kind=pa.float64()):
    """The list by hand with one column in a unit of the file's own."""
    targets = target_list(ref_epoch=[2016.0] * 4, pmra=[0.0] * 4, pmdec=[0.0] * 4)
    at = targets.table.schema.get_field_index(name)
    column = pa.array(values, kind)
    table = targets.table.set_column(at, described(name, kind, unit), column)
    return TargetList(table, targets.footer)


RENAMED = {"ra": "RA", "dec": "Dec", "exptime": "exp_time"}


# --- units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "unit", "expected"),
    [
        ("ra", [0.0, np.pi / 4, np.pi / 2, np.pi], "rad", [0, 45, 90, 180]),
        ("ra", [0.0, 1.0, 2.0, 12.0], "hourangle", [0, 15, 30, 180]),
        ("dec", [0.0, 60.0, -60.0, 90.0], "arcmin", [0, 1, -1, 1.5]),
        ("pmdec", [0.5, 0.0, 0.0, 0.0], "arcsec/yr", [500, 0, 0, 0]),
        ("parallax", [0.001, 0.1, 0.0, 0.01], "arcsec", [1, 100, 0, 10]),
        ("exptime", [15.0, 30.0, 1.0, 60.0], "min", [900, 1800, 60, 3600]),
        ("ref_epoch", [51544.5, 51909.75, 57388.5, 51544.5], "d", [2000, 2001, 2016, 2000]),
    ],
)
@pytest.mark.parametrize("through_a_file", [True, False])
def test_columns_are_converted_from_their_own_unit(
    name, values, unit, expected, through_a_file, tmp_path
):
    targets = in_another_unit(name, values, unit)
    if through_a_file:
        targets.write(tmp_path / "a.targets.parquet")
        targets = TargetList.read(tmp_path / "a.targets.parquet")
    values = {"exptime": None} if name == "exptime" else {}
    tool = "weave" if name == "ref_epoch" else "pfs-ga"
    done = exported(tool, tmp_path / "list.csv", targets, values, assume_still=False)
    if name == "ref_epoch":
        assert done.targets.epoch == pytest.approx(expected, abs=1e-3)
        return
    rows = pd.read_csv(done.files[0])
    found = rows[RENAMED.get(name, name)].to_numpy()
    assert found == pytest.approx(np.where(found == 1e-7, 1e-7, expected), rel=1e-6)


def test_motion_in_arcsec_moves_a_target_a_thousand_times_further(tmp_path):
    targets = in_another_unit("pmdec", [0.5, 0.0, 0.0, 0.0], "arcsec/yr")
    path = exported("desi", tmp_path, targets, assume_still=False).files[0]
    moved = (fits.getdata(path)["DEC"][0] - -1.5) * 3600
    assert moved == pytest.approx(0.5 * 10.5, abs=0.001)  # from 2016.0 to 2026.5


@pytest.mark.parametrize(
    ("name", "values", "unit", "message"),
    [
        ("ra", [0.0] * 4, "kg", "column 'ra': is in 'kg'; expected 'deg'"),
        ("pmra", [0.0] * 4, "km/s", "column 'pmra': is in 'km/s'; expected 'mas/yr'"),
        ("exptime", [1.0] * 4, "electron", "column 'exptime': is in 'electron'; expected 's'"),
        ("ref_epoch", [12.0] * 4, "d", "column 'ref_epoch': is 12 to 12 d; expected epochs as"),
        ("ref_epoch", [12.0] * 4, "", "column 'ref_epoch': is 12 to 12; expected epochs as Julian"),
    ],
)
def test_units_of_another_kind_are_refused_in_one_line(name, values, unit, message, tmp_path):
    with pytest.raises(HandoffError, match=message) as raised:
        exported("pfs-ga", tmp_path, in_another_unit(name, values, unit))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("unit", "one"), [("nJy", 3630.78), ("mJy", 3.63078e-3), ("Jy", 3.63078e-6), ("nanomaggy", 1.0)]
)
def test_magnitudes_are_those_of_the_flux_in_its_own_unit(unit, one, tmp_path):
    targets = target_list(flux_r_sdss=None, flux_r_ps1=([one] * 4, unit))
    path = exported("4most", tmp_path, targets, {"mag_type": "PS1_r_AB"}).files[0]
    assert Table.read(path)["MAG"].tolist() == pytest.approx([22.5] * 4, abs=1e-4)


def test_sizes_that_a_setting_names_are_converted_too(tmp_path):
    targets = target_list(r_eff=([0.025, 0.05, 0.1, 0.2], "arcmin"))
    settings = {"extent": "sersic", "sersic_radius": "r_eff", "sersic_index": "1"}
    path = exported("4most", tmp_path, targets, settings).files[0]
    assert Table.read(path)["EXTENT_PARAMETER"].tolist() == pytest.approx([1.5, 3, 6, 12])


# --- lists that were rewritten -------------------------------------------------------------------


def by_pandas(targets, path):
    """Whole numbers with gaps become floats, and empty columns lose their type."""
    targets.table.to_pandas().to_parquet(path)


def by_a_database(targets, path):
    """Neither footer nor metadata of columns, text in a view, and whole numbers of 64 bits."""
    columns = {}
    for name in targets.table.column_names:
        values = targets.table[name]
        if pa.types.is_integer(values.type):
            values = values.cast(pa.int64())
        if pa.types.is_string(values.type):
            values = values.cast(pa.large_string()).dictionary_encode()
        columns[name] = values
    pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize("rewrite", [by_pandas, by_a_database])
@pytest.mark.parametrize("name", ["desi", "desi-tertiary", "pfs-netflow"])
def test_rewritten_list_is_exported_as_it_was(rewrite, name, tmp_path):
    targets = target_list(n_obs=[2, None, 1, None], obs_conditions=[1, None, 4, None])
    rewrite(targets, tmp_path / "b.parquet")
    back = TargetList.read(tmp_path / "b.parquet", needs_footer=False)
    plain = exported(name, tmp_path / "a", targets).files[0]
    again = exported(name, tmp_path / "b", back)
    assert again.files[0].read_bytes() == plain.read_bytes()
    assert check(again.targets, again.files[0]).n_targets == 4


def test_fluxes_without_a_unit_are_refused_where_they_are_needed(tmp_path):
    by_a_database(target_list(), tmp_path / "b.parquet")
    back = TargetList.read(tmp_path / "b.parquet", needs_footer=False)
    with pytest.raises(CatalogError, match=r"'flux_r_sdss' has no unit; expected nJy"):
        exported("4most", tmp_path, back)


def test_columns_that_may_be_empty_may_be_missing(tmp_path):
    empty = ["ref_epoch", "pmra", "pmdec", "parallax", "n_obs", "exptime", "obs_conditions"]
    table = target_list().table.drop_columns([*empty, "source_catalog", "probability"])
    pq.write_table(table, tmp_path / "b.parquet")
    back = TargetList.read(tmp_path / "b.parquet", needs_footer=False)
    plain = exported("desi", tmp_path / "a", target_list()).files[0]
    assert exported("desi", tmp_path / "b", back).files[0].read_bytes() == plain.read_bytes()
    still = exported("desi", tmp_path, back, assume_still=False).files[0]
    assert still.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("write", [TargetList.write, by_pandas, by_a_database])
@pytest.mark.parametrize("bits", [0, -1])
def test_target_of_no_class_is_refused(bits, write, tmp_path):
    write(target_list(target_bits=[1, 1, bits, 1]), tmp_path / "b.parquet")
    with pytest.raises(CatalogError, match=f"'target_bits': is {bits} for target 103; expected a"):
        TargetList.read(tmp_path / "b.parquet", needs_footer=False)


def test_target_of_a_class_that_the_footer_does_not_name_is_refused(tmp_path):
    target_list(target_bits=[1, 1, 1 << 40, 1]).write(tmp_path / "b.parquet")
    with pytest.raises(CatalogError, match=r"classes, 2 \(STRONG\) or 1 \(WEAK\)\. Select again"):
        TargetList.read(tmp_path / "b.parquet")


@pytest.mark.parametrize("name", ["target_id", "ra", "priority", "subpriority", "program"])
def test_what_is_truly_missing_is_named(name, tmp_path):
    pq.write_table(target_list().table.drop_columns([name]), tmp_path / "b.parquet")
    with pytest.raises(CatalogError, match=f"no column '{name}', so it is not a target list"):
        TargetList.read(tmp_path / "b.parquet", needs_footer=False)


def run_command(command, *words):
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return result.output


def test_commands_take_rewritten_lists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_pandas(target_list(), tmp_path / "b.targets.parquet")
    (tmp_path / "desi.yaml").write_text("epoch: 2026.5\nobsconditions: DARK\n")
    words = ("b.targets.parquet", "--for", "desi", "--config", "desi.yaml")
    assert "4 targets for DESI" in run_command(export, *words)
    write_fba(tmp_path / "fba.fits", {101: (359.75, -1.5)}, [101])
    assert "3 of 4 targets are left" in run_command(
        import_assignment, "b.targets.parquet", "fba.fits"
    )
    again = ("b.left-over.targets.parquet", *words[1:])
    assert "3 targets for DESI" in run_command(export, *again)
