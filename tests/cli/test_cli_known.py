"""targetsel select --known: the sources that have a spectrum already."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.sky.positions import healpix_of

RULES = """schema: targetsel/rules/v1
name: bright
classes:
  BRIGHT:
    bit: 0
    priority: 10
    where: [rmag < 21]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ra, dec = np.linspace(10, 11, 30), np.linspace(0, 1, 30)
    columns = {"ra": ra, "dec": dec, "_healpix_29": healpix_of(ra, dec), "rmag": np.full(30, 20.0)}
    pq.write_table(pa.table({"source_id": np.arange(30), **columns}), "a.scored.parquet")
    positions = {"RA": ra[:6], "DEC": dec[:6] + 0.2 / 3600}
    quality = {"z": np.full(6, 0.1), "zWarning": [0, 0, 0, 0, 0, 4]}
    pq.write_table(pa.table(positions | quality), "spec.parquet")
    (tmp_path / "bright.yaml").write_text(RULES)
    return tmp_path


def test_the_command_says_what_became_of_the_spectra_and_writes_what_the_function_does(
    targetsel, here
):
    words = ("--rules", "bright.yaml", "a.scored.parquet", "--known", "spec.parquet")
    said = targetsel("select", *words, "-o", "a.targets.parquet").out
    assert "spec.parquet: 6 spectra: 6 belong to a source by position, 0 to none; 1 of" in said
    assert "5 of 30 sources are known within 1 arcsec; median separation 0.20 arcsec" in said
    assert "BRIGHT: leaves out 5 known sources" in said
    assert "25 targets of 30 sources" in said
    ts.select("a.scored.parquet", "bright.yaml", "b.targets.parquet", known="spec.parquet")
    written = [(here / f"{name}.targets.parquet").read_bytes() for name in "ab"]
    assert written[0] == written[1]


def test_several_files_and_another_radius_are_taken(targetsel, here):
    words = ("select", "--rules", "bright.yaml", "a.scored.parquet", "--dry-run")
    shutil.copy("spec.parquet", "more.parquet")
    known = ("--known", "spec.parquet", "--known", "more.parquet", "--known", "./more.parquet")
    said = targetsel(*words, *known, "--known-radius", "0.1").out
    assert said.count("0 belong to a source by position, 6 to none") == 2
    assert said.count("caution: none of the 6 spectra in") == 2
    assert "30 targets of 30 sources" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--known", "none.fits"), "none.fits: no such file"),
        (("--known", "a.scored.parquet"), "is the catalog itself"),
        (("--known", "a.scored.parquet", "--truth", "t.parquet"), "--labelled is missing"),
        (("--known", "spec.parquet", "--known-radius", "90"), "up to 60"),
        (("--known", "spec.parquet", "-o", "spec.parquet"), "spec.parquet"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(targetsel, here, words, said):
    found = targetsel("select", "--rules", "bright.yaml", "a.scored.parquet", *words)
    assert found.status == 2
    assert said in found.err
    assert found.err.count("\n") <= 1


def test_explain_and_funnel_take_the_same_options(targetsel, here):
    words = ("--rules", "bright.yaml", "a.scored.parquet", "--known", "spec.parquet")
    explained = targetsel("explain", "--id", "2", *words).out
    assert "It has a spectrum already at redshift 0.1, 0.20 arcsec from it." in explained
    assert "not known" in targetsel("funnel", *words).out
