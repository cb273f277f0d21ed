"""Random points under the same footprint and masks as targets."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, OutputError, RuleError
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.selection.reports.randoms import randoms
from targetsel.tables.parquet import read_footer, write_table

TEXT = """\
schema: targetsel/rules/v1
name: test
define:
  clean: typicality > 0.01 and maskbits < 4
footprint:
  include: [{cone: {ra: 0, dec: 0, radius: 20 deg}}]
classes:
  ALL: {bit: 0, priority: 1, where: "P(ew_halpha > 50) > 0.5", sample: 0.1}
  CLEAN: {bit: 4, priority: 1, where: [clean, rmag < 20], limit: {total: 1}, rank: rmag}
"""


def write(folder, text, points):
    path = folder / "points.parquet"
    if isinstance(points, pa.Table):
        write_table(points, path)
        points = path
    return randoms(Rules.parse(text, str(folder / "test.yaml")), folder / "out.parquet", points)


def test_made_points_fill_the_footprint_evenly(tmp_path):
    done = write(tmp_path, TEXT.replace("maskbits < 4", "typicality < 2"), 2.0)
    table = pq.read_table(tmp_path / "out.parquet")
    assert done.n_points == round(2 * 41252.96)
    area = 2 * np.pi * (1 - np.cos(np.radians(20))) * (180 / np.pi) ** 2
    assert len(table) == done.n_written == pytest.approx(2 * area, abs=5 * np.sqrt(2 * area))
    ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
    assert 0 <= ra.min() < ra.max() < 360
    assert np.mean((ra + 180) % 360 - 180) == pytest.approx(0, abs=1)
    assert dec.mean() == pytest.approx(0, abs=1)
    assert set(table["target_bits"].to_pylist()) == {17}
    write(tmp_path, TEXT.replace("maskbits < 4", "typicality < 2"), 2.0)
    assert pq.read_table(tmp_path / "out.parquet").equals(table)


def test_points_are_asked_what_they_can_answer(tmp_path):
    points = pa.table(
        {
            "RA": [0.0, 359.0, 1.0, 90.0, float("nan")],
            "DEC": [0.0, 0.0, 1.0, 0.0, 0.0],
            "maskbits": [0, 4, 1, 0, 0],
            "target_bits": [9, 9, 9, 9, 9],
        }
    )
    done = write(tmp_path, TEXT, points)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["RA"].to_pylist() == [0.0, 359.0, 1.0]
    assert table["target_bits"].to_pylist() == [17, 1, 17]
    everyone, clean = done.classes
    assert (everyone.n_kept, everyone.left_out) == (3, ("P(ew_halpha > 50) > 0.5",))
    assert (clean.n_kept, clean.left_out) == (2, ("typicality > 0.01", "rmag < 20"))
    footer = read_footer(tmp_path / "out.parquet")
    assert footer["bits"] == {"ALL": 0, "CLEAN": 4}
    assert footer["conditions_left_out"]["CLEAN"] == ["typicality > 0.01", "rmag < 20"]


def test_points_are_inside_exactly_where_sources_are(tmp_path):
    """The footprint that `select` applies, on the same positions."""
    write(tmp_path, TEXT.replace("maskbits < 4", "typicality < 2"), 0.5)
    kept = pq.read_table(tmp_path / "out.parquet")
    region = plan(Rules.parse(TEXT), _any_catalog()).classes[0].region
    assert region.found(kept["_healpix_29"].to_numpy()).all()


def _any_catalog():
    fields = [pa.field(name, pa.float64()) for name in ("typicality", "rmag", "ew_halpha")]
    fields += [pa.field("_healpix_29", pa.int64()), pa.field("maskbits", pa.int64())]
    fields += [pa.field("source_id", pa.int64())]
    lists = pa.list_(pa.float32(), 11)
    fields.append(pa.field("ew_halpha_quantiles", lists, metadata={"normal_scores": ""}))
    return pa.schema(fields)


def test_exclusion_by_position_is_a_mask_and_by_id_is_none(tmp_path):
    stars = pa.table({"source_id": [1], "ra": [0.0], "dec": [0.0]})
    write_table(stars, tmp_path / "stars.parquet")
    text = TEXT + "exclude: [stars.parquet, {file: stars.parquet, within: 10 arcmin}]\n"
    points = pa.table({"ra": [0.1, 0.2, 0.3], "dec": [0.0, 0.0, 0.0]})
    write(tmp_path, text, points)
    assert pq.read_table(tmp_path / "out.parquet")["ra"].to_pylist() == [0.2, 0.3]


def test_faults_are_named(tmp_path):
    with pytest.raises(CatalogError, match="no column of declination"):
        write(tmp_path, TEXT, pa.table({"ra": [1.0]}))
    points = pa.table({"ra": [1.0], "dec": [1.0], "maskbits": ["a"]})
    with pytest.raises(RuleError, match="maskbits holds text, which has no order"):
        write(tmp_path, TEXT, points)
    assert not (tmp_path / "out.parquet").exists()
    with pytest.raises(OutputError, match="is read by the same command"):
        randoms(Rules.parse(TEXT), tmp_path / "points.parquet", tmp_path / "points.parquet")
