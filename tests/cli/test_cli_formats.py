"""Scored catalogs and target lists in other formats than Parquet: the same targets."""

from __future__ import annotations

import shutil

import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import write_table

RULES = """schema: targetsel/rules/v1
name: strong lines
classes:
  STRONG:
    priority: 3000
    where:
      - P(ew_halpha > -5 and ew_oii > -50) > 0.2
      - ew_halpha >= catalog_quantile(ew_halpha, 0.5)
      - typicality >= 0
"""


@pytest.fixture
def scored(targetsel, sky):
    """Score with the tiny ensemble into a file of this name; gives what was said."""

    (sky / "strong.yaml").write_text(RULES)

    def scored(output, *words):
        said = targetsel("score", "catalog.parquet", "--ensemble", "tiny", "-o", output, *words)
        assert said.status == 0, said
        return said.out

    return scored


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "ecsv", "vot"])
def test_a_scored_catalog_of_another_format_gives_the_same_targets(targetsel, sky, scored, ending):
    scored("a.scored.parquet")
    targetsel("select", "--rules", "strong.yaml", "a.scored.parquet", "-o", "a.targets.parquet")
    said = scored(f"b.scored.{ending}")
    assert f"written to b.scored.{ending}" in said
    chosen = targetsel(
        "select", "--rules", "strong.yaml", f"b.scored.{ending}", "-o", f"b.targets.{ending}"
    )
    assert chosen.status == 0, chosen
    ours, theirs = (
        TargetList.read(sky / name) for name in ("a.targets.parquet", f"b.targets.{ending}")
    )
    assert len(ours) > 0
    assert ours.table.to_pylist() == theirs.table.to_pylist()
    assert ours.footer == theirs.footer
    for name in ours.table.column_names:
        assert ours.table.schema.field(name).metadata == theirs.table.schema.field(name).metadata


def test_a_run_into_fits_goes_on_where_it_stopped(sky, scored, monkeypatch, targetsel):
    import targetsel.scoring.stream as stream

    monkeypatch.setattr(stream, "ROWS_PER_CHUNK", 8)
    scored("a.scored.fits")
    whole = (sky / "a.scored.fits").read_bytes()
    (sky / "a.scored.fits").unlink()
    finish, n = stream._Work.finish, []

    def fail(self, k, table):
        n.append(k)
        if len(n) > 2:
            raise KeyboardInterrupt
        finish(self, k, table)

    monkeypatch.setattr(stream._Work, "finish", fail)
    words = ("score", "catalog.parquet", "--ensemble", "tiny", "-o", "a.scored.fits")
    targetsel(*words, "--threads", "1")
    assert (sky / "a.scored.fits.partial").is_dir()
    monkeypatch.setattr(stream._Work, "finish", finish)
    assert "resumed an earlier run that had finished 2 chunks" in scored("a.scored.fits")
    assert (sky / "a.scored.fits").read_bytes() == whole
    assert not (sky / "a.scored.fits.partial").exists()


def test_posteriors_are_vectors_in_fits(sky, scored):
    scored("a.scored.fits")
    scored("a.scored.parquet")
    rows = fits.getdata(sky / "a.scored.fits")
    expected = pq.read_table(sky / "a.scored.parquet")
    assert rows["ew_halpha_quantiles"].shape == (40, 11)
    assert rows["ew_halpha_quantiles"][3].tolist() == pytest.approx(
        expected["ew_halpha_quantiles"][3].as_py()
    )
    assert fits.getheader(sky / "a.scored.fits", 1)["TARGSEL"].startswith("{")


def test_csv_leaves_out_posteriors_says_so_and_is_no_scored_catalog(targetsel, sky, scored):
    said = scored("a.scored.csv")
    assert "CSV has no place for lists of numbers, such as posteriors" in said
    refused = targetsel("select", "--rules", "strong.yaml", "a.scored.csv")
    assert refused.status == 2
    assert refused.err.splitlines() == [
        "a.scored.csv: CSV has no place for the posteriors and the provenance of a scored "
        "catalog. Give one in Parquet (.parquet), FITS, VOTable or ECSV."
    ]


def test_the_only_scored_catalog_of_a_folder_may_be_fits(targetsel, sky, scored):
    scored("a.scored.fits")
    assert targetsel("select", "--rules", "strong.yaml").status == 0


def test_a_table_of_chosen_columns_is_written_in_the_format_of_its_ending(targetsel, sky, scored):
    scored("a.scored.parquet")
    targetsel("select", "--rules", "strong.yaml", "a.scored.parquet")
    words = ("export", "strong.targets.parquet", "--for", "table", "--check")
    said = targetsel(*words, "--columns", "target_id,ra,dec,priority", "-o", "a.csv")
    assert said.status == 0, said
    assert (sky / "a.csv").read_text().splitlines()[0] == "target_id,ra,dec,priority"
    assert "read back by targetsel" in said.out
    assert targetsel(*words).status == 0
    with fits.open(sky / "strong.table.fits") as hdus:
        assert hdus[1].columns["ra"].unit == "deg"
    wrong = targetsel(*words, "--columns", "ra,decc", "-o", "b.fits")
    assert "the list has no column 'decc'" in wrong.err
    assert "Did you mean 'dec' or" in wrong.err
    other = targetsel("export", "strong.targets.parquet", "--for", "desi", "--columns", "ra")
    assert "--columns is for --for table" in other.err or "needs the setting" in other.err


def test_a_catalog_of_pan_starrs_magnitudes_goes_to_pfs_without_options(targetsel, sky):
    table = pq.read_table(sky / "catalog.parquet")
    names = {f"flux_{band}_sdss": f"{band}MeanKronMag" for band in "gr"}
    keep = [n for n in table.column_names if not n.startswith(("flux_", "mag_")) and n != "rmag"]
    plain = table.select(keep)
    for k, name in enumerate(names.values()):
        plain = plain.append_column(name, [[20.0 + k] * len(plain)])
    shutil.rmtree(sky / "catalog.parquet", ignore_errors=True)
    write_table(plain, sky / "ps1.fits")
    (sky / "strong.yaml").write_text(RULES)
    said = targetsel("score", "ps1.fits", "--ensemble", "tiny")
    assert "brightness: g, r of Pan-STARRS1 from gMeanKronMag, rMeanKronMag (Kron, AB" in said.out
    assert targetsel("select", "--rules", "strong.yaml", "ps1.scored.parquet").status == 0
    (sky / "pfs.yaml").write_text("exptime: 900\nresolution: L\nreference_arm: r\n")
    done = targetsel(
        "export", "strong.targets.parquet", "--for", "pfs-uploader", "--config", "pfs.yaml",
        "-o", "pfs.csv",
    )  # fmt: skip
    assert done.status == 0, done
    assert "not corrected for extinction (as Pan-STARRS1 publishes)" in done.out
    rows = (sky / "pfs.csv").read_text().splitlines()
    header, first = (line.split(",") for line in [each for each in rows if each[0] != "#"][:2])
    assert float(first[header.index("g_ps1")]) == pytest.approx(36307.8, rel=1e-5)
    assert float(first[header.index("r_ps1")]) == pytest.approx(14454.4, rel=1e-5)


def test_a_column_named_at_select_is_kept_and_known_to_export(targetsel, sky):
    table = pq.read_table(sky / "catalog.parquet")
    keep = [n for n in table.column_names if not n.startswith(("flux_", "mag_")) and n != "rmag"]
    plain = table.select(keep).append_column("total", [[20.0] * len(table)])
    write_table(plain, sky / "own.fits")
    (sky / "strong.yaml").write_text(RULES)
    assert targetsel("score", "own.fits", "--ensemble", "tiny").status == 0
    words = ("select", "--rules", "strong.yaml", "own.scored.parquet")
    assert "brightness" not in targetsel(*words).out
    (sky / "own.photometry.yaml").write_text(
        "schema: targetsel/photometry/v1\nbrightness: {r_sdss: {column: total, unit: mag}}\n"
    )
    said = "brightness: r of SDSS from total (AB magnitudes); not corrected for extinction"
    assert said in targetsel(*words).out
    (sky / "own.photometry.yaml").unlink()
    assert said in targetsel(*words, "--brightness", "r_sdss=total,unit=mag").out
    (sky / "pfs.yaml").write_text("exptime: 900\nresolution: L\nreference_arm: r\n")
    done = targetsel(
        "export", "strong.targets.parquet", "--for", "pfs-uploader", "--config", "pfs.yaml"
    )
    assert done.status == 0, done
    assert said in done.out
