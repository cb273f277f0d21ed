"""Densities and neighbours, on a sky small enough to count."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import CatalogError
from targetsel.rules.rules import Rules
from targetsel.selection.reports.density import density, neighbours, order_of
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import healpix_of, unit_vectors
from targetsel.tables.parquet import write_table

PIXEL = 41252.96 / 49152  # square degrees of nside 64


def targets(pixels, ra, dec, bits):
    shift = 2 * (29 - 6)
    table = pa.table(
        {
            "_healpix_29": np.array(pixels, dtype=np.int64) << shift,
            "ra": np.array(ra, dtype=float),
            "dec": np.array(dec, dtype=float),
            "target_bits": np.array(bits, dtype=np.int64),
        }
    )
    return TargetList(table, {"bits": {"ELG": 0, "LRG": 3}})


FOUR = targets([5, 5, 5, 9], [359.999, 0.001, 40, 80], [0, 0, 0, 0], [1, 9, 8, 1])


def test_targets_are_counted_per_square_degree_class_by_class():
    everything, elg, lrg = density(FOUR, reach=10)
    assert (everything.n_targets, elg.n_targets, lrg.n_targets) == (4, 3, 2)
    assert everything.area == pytest.approx(2 * PIXEL, rel=1e-5)
    assert everything.mean == pytest.approx(2 / PIXEL, rel=1e-5)
    assert everything.most == pytest.approx(3 / PIXEL, rel=1e-5)
    assert elg.median == pytest.approx(1.5 / PIXEL, rel=1e-5)


def test_pixels_of_the_catalog_without_targets_count_when_it_is_named(tmp_path):
    healpix = (np.array([5, 5, 9, 11, 12]) << 46).tolist()
    columns = {name: [1.0] * 5 for name in ("ra", "dec")}
    table = pa.table({"source_id": range(5), "_healpix_29": healpix, **columns})
    write_table(table, tmp_path / "a.parquet")
    assert density(FOUR, 10, scored=tmp_path / "a.parquet")[0].mean == pytest.approx(
        1 / PIXEL, 1e-5
    )


def test_neighbours_are_found_across_the_meridian():
    # 0.002 deg is 7.2 arcsec.
    assert density(FOUR, reach=7.3)[0].crowded == 0.5
    assert density(FOUR, reach=7.1)[0].crowded == 0.0
    assert density(FOUR, reach=7.3)[2].most_neighbours == 0  # of LRGs there is only one of the two


@given(st.lists(st.tuples(st.floats(0, 0.1), st.floats(0, 0.1)), max_size=30), st.floats(1, 300))
def test_neighbours_are_those_that_separations_give(positions, reach):
    ra, dec = np.array(positions).reshape(-1, 2).T
    found = neighbours(unit_vectors(ra, dec), reach)
    where = unit_vectors(ra, dec)
    cross = np.linalg.norm(np.cross(where[:, None], where[None]), axis=2)
    apart = np.degrees(np.arctan2(cross, where @ where.T)) * 3600
    sure = (apart < reach * (1 - 1e-9)).sum(axis=1) - 1
    maybe = (apart < reach * (1 + 1e-9) + 1e-9).sum(axis=1) - 1
    assert ((sure <= found) & (found <= maybe)).all()


def test_empty_list_has_no_density():
    found = density(targets([], [], [], []), 10)[0]
    assert (found.n_targets, found.most_neighbours) == (0, 0)
    assert all(math.isnan(value) for value in found.per_deg2)


# --- planted densities ---------------------------------------------------------------------------

CAP = 2 * math.pi * (180 / math.pi) ** 2  # square degrees of a half of the sky


def cap(radius):
    """Square degrees of a cone of that radius [deg]."""
    return CAP * (1 - math.cos(math.radians(radius)))


def cone(ra, dec, radius):
    return f"{{cone: {{ra: {ra}, dec: {dec}, radius: {radius} deg}}}}"


def planted(footprint, area, around, density=2000):
    """Uniform points of a footprint: as many as give that density over an area known by geometry.

    `around` is a center and a radius [deg] that hold the footprint.
    """
    ra, dec, radius = around
    rng, found = np.random.default_rng(1), []
    axis = unit_vectors(np.array([ra]), np.array([dec]))[0]
    east = np.cross([0.0, 0.0, 1.0], axis)
    east /= np.linalg.norm(east)
    north = np.cross(axis, east)
    region = Rules.parse(rules_of_footprint(footprint)).classes[0].preamble.footprint.region()
    n = round(density * area)
    while sum(map(len, found)) < n:
        height = 1 - (1 - math.cos(math.radians(radius))) * rng.random(20_000)
        turn, side = 2 * np.pi * rng.random(20_000), np.sqrt(1 - height**2)
        points = height[:, None] * axis + side[:, None] * (
            np.cos(turn)[:, None] * east + np.sin(turn)[:, None] * north
        )
        at = np.degrees(np.arctan2(points[:, 1], points[:, 0])) % 360
        points = np.stack([at, np.degrees(np.arcsin(points[:, 2]))], axis=1)
        found.append(points[region.found(healpix_of(*points.T))])
    points = np.concatenate(found)[:n]
    table = pa.table(
        {
            "_healpix_29": healpix_of(*points.T),
            "ra": points[:, 0],
            "dec": points[:, 1],
            "target_bits": np.ones(n, dtype=np.int64),
        }
    )
    files = [["a.yaml", rules_of_footprint(footprint)]]
    return TargetList(table, {"bits": {"ELG": 0}, "rules_files": files})


def rules_of_footprint(footprint):
    return (
        f"schema: targetsel/rules/v1\nname: a\nfootprint: {footprint}\n"
        "classes:\n  ELG: {bit: 0, where: ['x > 0'], priority: 1}\n"
    )


@pytest.mark.parametrize("nside", [16, 64])
@pytest.mark.parametrize(
    ("footprint", "area", "around"),
    [
        (f"{{include: [{cone(150, 2, 1)}]}}", cap(1), (150, 2, 1.01)),
        (f"{{include: [{cone(0, -60, 0.4)}]}}", cap(0.4), (0, -60, 0.41)),
        (
            f"{{include: [{cone(30, 40, 1.5)}], exclude: [{cone(30, 40, 0.8)}]}}",
            cap(1.5) - cap(0.8),
            (30, 40, 1.51),
        ),
        ("{include: [{box: {ra: 10, dec: 0, width: 3 deg, height: 1 deg}}]}", 3.0, (10, 0, 1.6)),
        ("{include: [{healpix: {nside: 128, pixels: [5, 6]}}]}", 2 * PIXEL / 4, (45, 3, 3)),
    ],
)
def test_a_planted_density_is_found_within_a_percent_whatever_the_footprint(
    footprint, area, around, nside
):
    targets = planted(footprint, area, around)
    for found in density(targets, reach=1, nside=nside):
        assert found.area == pytest.approx(area, rel=0.01)
        assert found.mean == pytest.approx(2000, rel=0.01)
        assert found.median == pytest.approx(2000, rel=0.06)


def test_pixels_of_the_catalog_outside_the_footprint_do_not_count(tmp_path):
    footprint = "{include: [{healpix: {nside: 64, pixels: [5, 9]}}]}"
    files = {"rules_files": [["a.yaml", rules_of_footprint(footprint)]]}
    two = TargetList(FOUR.table, {"bits": {"ELG": 0}} | files)
    healpix = (np.array([5, 9, 11, 12]) << 46).tolist()
    table = pa.table(
        {"source_id": range(4), "_healpix_29": healpix, "ra": [1.0] * 4, "dec": [1.0] * 4}
    )
    write_table(table, tmp_path / "a.parquet")
    assert density(two, 10, scored=tmp_path / "a.parquet")[0].area == pytest.approx(2 * PIXEL, 1e-5)


def test_a_file_of_the_footprint_that_has_changed_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text('{"6": [5, 9]}')
    files = [["a.yaml", rules_of_footprint("{include: [a.json]}")]]
    footer = {"bits": {"ELG": 0}, "rules_files": files, "files": {"a.json": "0" * 64}}
    with pytest.raises(CatalogError, match=r"^a.json: has changed since the list was made, whose"):
        density(TargetList(FOUR.table, footer), 10)


def test_files_of_the_footprint_are_found_beside_the_rule_file_that_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"6": [5, 9]}')
    text = rules_of_footprint("{include: [a.json]}")
    (tmp_path / "a.yaml").write_text(text)
    rules = Rules.read(tmp_path / "a.yaml")
    footer = {"bits": {"ELG": 0}, "rules_files": [["a.yaml", text]], "rules_sha256": rules.sha256}
    targets = TargetList(FOUR.table, footer)
    with pytest.raises(CatalogError, match=r"no file .a.json. in .* Name their file with --"):
        density(targets, 10)
    assert density(targets, 10, rules=rules)[0].area == pytest.approx(2 * PIXEL, 1e-5)
    with pytest.raises(CatalogError, match=r"^a: not the rules that the list was made by. Name"):
        density(TargetList(FOUR.table, footer | {"rules_sha256": ""}), 10, rules=rules)


@pytest.mark.parametrize("nside", [0, 3, -64, 16384])
def test_nside_is_a_power_of_two(nside):
    with pytest.raises(
        CatalogError, match=f"nside {nside}: expected a power of two from 1 to 8192"
    ):
        order_of(nside)
    assert order_of(64) == 6
