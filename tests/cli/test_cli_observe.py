"""`targetsel observe`, and rules that ask for what it adds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.tables.parquet import write_table
from tests.cli.typed import contents
from tests.selection.scored_by_hand import scored_table

RULES = """\
schema: targetsel/rules/v1
name: bright-lines
define: {snr: snr_halpha}
classes:
  BRIGHT: {bit: 0, priority: 100, where: P(snr > 5) >= 0.8}
"""


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """A bright and a faint source with Halpha of 40 Angstrom, in the working directory."""
    columns = {
        "redshift": (np.array([0.1, 0.1]), ""),
        "flux_r_sdss": (np.array([1e5, 1e2]), "nJy"),
    }
    table = scored_table([[20, 40, 1.4]] * 2, [[5, 8, 0.1]] * 2, columns=columns)
    pq.write_table(table, tmp_path / "sky.scored.parquet")
    (tmp_path / "bright-lines.yaml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_rule_selects_by_the_probability_of_a_ratio(targetsel, scored):
    said = targetsel("observe", "sky.scored.parquet", "--line", "ew_halpha", "--size", "1arcsec",
                     "--exposure", "15min", "-o", "seen.parquet")  # fmt: skip
    assert said.status == 0, said
    assert "2  ok" in said.out
    assert "DESI (approximate), 900 s, lines without Galactic dust" in said.out
    said = targetsel("select", "--rules", "bright-lines.yaml", "seen.parquet", "-o", "t.parquet")
    assert said.status == 0, said
    assert pq.read_table("t.parquet")["source_id"].to_pylist() == [1]


def test_a_line_says_that_strengths_are_of_another_fiber(targetsel, scored):
    table = pq.read_table("sky.scored.parquet")
    for aperture, told in ((3.0, True), (1.5, False)):
        write_table(table, Path("sky.scored.parquet"), {"aperture": aperture})
        said = targetsel("observe", "sky.scored.parquet", "--line", "oiii", "--size", "1arcsec",
                         "-o", f"{aperture}.parquet")  # fmt: skip
        assert said.status == 0, said
        assert ("caution: line strengths are of the light in a fiber of 3" in said.out) == told


def test_size_in_a_column_and_in_words_agree(targetsel, scored):
    table = pq.read_table("sky.scored.parquet")
    radius = pa.array(np.full(2, 1.5))
    pq.write_table(table.append_column("radius", radius), "sky.scored.parquet")
    for size, name in (("radius", "a.parquet"), ("1.5arcsec", "b.parquet")):
        said = targetsel("observe", "sky.scored.parquet", "--line", "oiii", "--size", size,
                         "-o", name)  # fmt: skip
        assert said.status == 0, said
    one, two = pq.read_table("a.parquet"), pq.read_table("b.parquet")
    assert one["snr_oiii"].to_pylist() == two["snr_oiii"].to_pylist()


def test_redshift_in_a_column_and_in_words_agree(targetsel, scored):
    command = ("observe", "sky.scored.parquet", "--line", "oiii", "--size", "1arcsec")
    for words, name in (((), "a.parquet"), (("--redshift", "0.1"), "b.parquet")):
        said = targetsel(*command, *words, "-o", name)
        assert said.status == 0, said
    one, two = pq.read_table("a.parquet"), pq.read_table("b.parquet")
    assert one["snr_oiii"].to_pylist() == two["snr_oiii"].to_pylist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--size is missing: how much light a fiber takes depends on it. Give a column"),
        (["--size", "1parsec"], "--size is '1parsec', expected a number and its unit, such as"),
        (["--size", "1"], "--size is '1', expected a number and its unit, such as 1.5arcsec, or"),
        (["--size", "99arcsec"], "--size is 99 arcsec; expected 0 to 60"),
        (["--size", "-1arcsec"], "--size is -1 arcsec; expected 0 to 60"),
        (["--size", "radius"], "sky.scored.parquet: no column 'radius' (--size)."),
        (["--size", "1arcsec", "--in-fiber"], "--size 1arcsec: not used with --in-fiber"),
        (["--in-fiber"], "no column such as fiberflux_r_sdss"),
        (["--size", "1arcsec", "--line", "oii"], "sky.scored.parquet: no posterior of 'ew_oii' in"),
        (["--size", "1arcsec", "--line", "halfa"], "unknown line 'halfa'. Did you mean 'halpha'"),
        (["--size", "1arcsec", "--spectrograph", "mse"], "mse: no such spectrograph or file."),
        (["--size", "1arcsec", "--exposure", "long"], "exposure is 'long', expected a number and"),
        (["--size", "1arcsec", "--exposure", "15"], "exposure is '15', expected a number and its "
         "unit, such as 1000s or 15min"),
        (["--size", "1arcsec", "--redshift", "z"], "sky.scored.parquet: no column 'z'"),
        (["--size", "1arcsec", "--redshift", "-0.1"], "redshift is -0.1; expected 0 to 10"),
        (["--size", "1arcsec", "--redshift-grid", "2"], "redshift grid '2': expected START:END"),
        (["--size", "1arcsec", "--brightness", "x=rmag"],
         "--brightness 'x=rmag': unknown band 'x'. Known: u_sdss"),
    ],
)  # fmt: skip
def test_what_cannot_be_observed_is_one_line(targetsel, scored, words, message):
    if "--line" not in words:
        words = [*words, "--line", "halpha"]
    before = contents(scored)
    said = targetsel("observe", "sky.scored.parquet", *words, "-o", "seen.parquet")
    assert said.status == 2, said
    assert said.err.startswith(message), said.err
    assert said.err.count("\n") == 1
    assert contents(scored) == before
