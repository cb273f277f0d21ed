"""`targetsel join-redshifts`, and `observe --redshift-pdf`, as they are typed."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.observing.test_observing_predicted import predicted
from tests.redshifts.files import interp, write_hdf5


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A scored catalog of three sources, and PDFs of two of them and of a stranger."""
    monkeypatch.chdir(tmp_path)
    path = predicted(tmp_path, (0.15, 0.15, 0.3))
    ids = pq.read_table(path)["source_id"].to_pylist()
    write_hdf5(tmp_path / "pdf.hdf5", interp([ids[0], ids[2], 999], [0.2, 0.25, 0.4]))
    return tmp_path


def test_a_join_says_how_many_matched(targetsel, folder):
    words = ["--redshift-pdf", "pdf.hdf5", "-o", "joined.parquet"]
    said = targetsel("join-redshifts", "scored.parquet", *words)
    assert said.status == 0, said.err
    assert said.out.splitlines() == [
        "2 of 3 sources matched, of 3 in pdf.hdf5",
        "         2  with the redshift of the file",
        "         1  with the image's own redshift",
        "written to joined.parquet",
    ]


def test_observing_with_a_file_is_joining_and_observing(targetsel, folder):
    targetsel("join-redshifts", "scored.parquet", "--redshift-pdf", "pdf.hdf5", "-o", "j.parquet")
    words = ["--size", "1arcsec", "--brightness", "r_sdss=rmag", "--line", "halpha"]
    two = targetsel("observe", "j.parquet", *words, "--redshift", "photoz", "-o", "two.parquet")
    assert two.status == 0, two.err
    words += ["--redshift-pdf", "pdf.hdf5"]
    one = targetsel("observe", "scored.parquet", *words, "-o", "one.parquet")
    assert one.status == 0, one.err
    assert "redshifts of pdf.hdf5 for 2 sources, else photoz" in one.out
    assert pq.read_table("one.parquet").equals(pq.read_table("two.parquet"))


def test_a_rule_asks_for_redshift_and_signal_to_noise_at_once(targetsel, folder):
    words = ["--size", "1arcsec", "--brightness", "r_sdss=rmag", "--line", "halpha"]
    targetsel("observe", "scored.parquet", *words, "--redshift-pdf", "pdf.hdf5", "-o", "o.parquet")
    (folder / "rules.yaml").write_text(
        "schema: targetsel/rules/v1\nname: n\nclasses:\n  NEAR:\n    priority: 1\n"
        "    description: near\n"
        "    where: ['P(0.1 < photoz < 0.22 and snr_halpha > 0) >= 0.5']\n"
    )
    said = targetsel("select", "--rules", "rules.yaml", "o.parquet", "-o", "list.parquet")
    assert said.status == 0, said.err
    ids = pq.read_table("scored.parquet")["source_id"].to_pylist()
    assert pq.read_table("list.parquet")["source_id"].to_pylist() == ids[:2]


def test_redshifts_of_no_source_are_refused_in_a_line(targetsel, folder):
    pq.write_table(pa.table({"source_id": [5], "z": [0.1], "z_err": [0.1]}), "z.parquet")
    words = ["--redshift-pdf", "z.parquet", "-o", "joined.parquet"]
    said = targetsel("join-redshifts", "scored.parquet", *words)
    assert said.status != 0
    assert said.err.count("\n") == 1
    assert "none of its 3 ids" in said.err
