"""How many sources of each class have a spectrum already, and at which redshifts."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.selection.known_by_class import KnownOfClass
from targetsel.sky.positions import healpix_of

RULES = """schema: targetsel/rules/v1
name: two
classes:
  NEW:
    bit: 0
    priority: 10
    where: [rmag < 21]
  AGAIN:
    bit: 1
    priority: 5
    where: [known, known_redshift < 0.25]
"""


@pytest.fixture
def files(tmp_path):
    """Twelve sources; six have redshifts of 0, 0.1 ... 0.5, and the last of these a warning."""
    ra, dec = np.linspace(10, 11, 12), np.zeros(12)
    columns = {"ra": ra, "dec": dec, "_healpix_29": healpix_of(ra, dec)}
    rmag = np.where(np.arange(12) == 1, 22.0, 20.0)
    table = pa.table({"source_id": np.arange(12), **columns, "rmag": rmag})
    pq.write_table(table, tmp_path / "a.scored.parquet", row_group_size=5)
    k = np.arange(6)
    taken = {"ra": ra[k], "dec": dec[k], "z": 0.1 * k, "zwarn": np.where(k == 5, 4, 0)}
    pq.write_table(pa.table(taken), tmp_path / "spec.parquet")
    return tmp_path / "a.scored.parquet", tmp_path / "spec.parquet"


@pytest.mark.parametrize("with_funnels", [False, True])
def test_each_class_tells_the_redshifts_of_its_known_sources(files, tmp_path, with_funnels):
    catalog, spectra = files
    path = tmp_path / "list.parquet"
    targets = ts.select(catalog, RULES, path, known=spectra, with_funnels=with_funnels)
    new, again = targets.run.known_of_classes
    assert (new.left_out, new.kept, new.failed, new.n_redshifts) == (4, 0, 1, 4)
    assert new.redshifts[::2] == pytest.approx((0, 0.25, 0.4))
    assert (again.left_out, again.kept, again.failed) == (None, 3, 0)
    assert again.redshifts[::2] == pytest.approx((0, 0.1, 0.2))
    footer = ts.TargetList.read(path).footer["known"]
    assert footer["classes"] == [new.record, again.record]
    assert footer["left_out"] == {"NEW": 4}


def test_threads_and_the_order_of_rows_change_nothing_of_it(files):
    catalog, spectra = files
    one = ts.select(catalog, RULES, known=spectra).run.known_of_classes
    assert ts.select(catalog, RULES, known=spectra, threads=2).run.known_of_classes == one
    turned = pq.read_table(catalog).take(pa.array(np.arange(12)[::-1]))
    assert ts.select(turned, RULES, known=spectra).run.known_of_classes == one


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (KnownOfClass.of("A", 0, 0, 0, []), "A: leaves out 0 known sources"),
        (
            KnownOfClass.of("A", 1, 0, 2, [np.array([0.5, np.nan])]),
            "A: leaves out 1 known source, at redshift 0.5; 2 targets have only spectra that "
            "failed",
        ),
        (
            KnownOfClass.of("A", None, 3, 0, [np.array([0.3]), np.array([0.1, 0.2])]),
            "A: its rules say what becomes of known sources; it keeps 3 known sources, at "
            "redshifts 0.1 to 0.3 (median 0.2, two of three within 0.132 to 0.268)",
        ),
    ],
)
def test_it_is_said_in_one_sentence(known, said):
    assert known.text == said
