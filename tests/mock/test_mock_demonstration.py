"""The demonstration: real positions, simulated images, and what came out against the truth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import OutputError
from targetsel.handoff.assignment import Pointing, join
from targetsel.handoff.export import TOOLS, check, export
from targetsel.imaging.image_file import read_image
from targetsel.imaging.store import CutoutStore
from targetsel.mock.demonstration import Outcome, outcomes, run, write_demonstration
from targetsel.mock.galaxies import Galaxies
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList
from targetsel.spectra.lines import PROXIES
from targetsel.spectra.reading import read_spectra
from targetsel.tables.parquet import read_footer
from tests.selection.scored_by_hand import scored_table


def test_catalog_cutouts_and_truth_speak_of_the_same_sources(demonstration):
    catalog, truth = (pq.read_table(demonstration / f"{n}.parquet") for n in ("catalog", "truth"))
    store = CutoutStore.open(demonstration / "cutouts")
    assert catalog["source_id"].to_pylist() == truth["source_id"].to_pylist()
    assert set(store.source_ids()) == set(catalog["source_id"].to_pylist())
    assert store.shape == (5, 64, 64)
    assert (store.bands, store.pixel_scale) == (("g", "r", "i", "z", "y"), 0.25)
    assert set(store.read(catalog["source_id"].to_numpy()).status) == {"ok"}


def test_every_file_says_that_its_images_are_simulated(demonstration):
    for name in ("catalog.parquet", "truth.parquet", "spectra.parquet"):
        assert read_footer(demonstration / name)["images"] == "simulated"


def test_truth_has_every_proxy_with_its_unit_and_no_gap(demonstration):
    truth = pq.read_table(demonstration / "truth.parquet")
    for name in PROXIES:
        assert np.isfinite(truth[name].to_numpy()).all(), name
    assert truth.schema.field("ew_halpha").metadata[b"unit"] == b"Angstrom"


def test_whole_demonstration_has_more_than_two_thousand_sources():
    assert len(Galaxies.of_demonstration()) > 2000
    shown, learnt = (set(Galaxies.of_demonstration(s).source_id.tolist()) for s in (True, False))
    assert not shown & learnt


def test_same_demonstration_is_the_same_bytes(demonstration, tmp_path):
    assert write_demonstration(tmp_path, 5) == 5
    first = pq.read_table(demonstration / "truth.parquet").slice(0, 5)
    truth = pq.read_table(tmp_path / "truth.parquet")
    assert truth["source_id"].equals(first["source_id"])
    assert truth["d4000"].to_numpy() == pytest.approx(first["d4000"].to_numpy(), rel=1e-5)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")}
    assert write_demonstration(tmp_path, 5) == 5
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")} == before


def test_run_leaves_scores_and_a_target_list_for_every_rule_file(tmp_path):
    found = run(tmp_path, n=12)
    assert len(pq.read_table(tmp_path / "catalog.scored.parquet")) == 12
    lists = {f"{path.stem}.targets.parquet" for path in shipped_rules()}
    assert lists <= {path.name for path in tmp_path.iterdir()}
    assert {each.rules for each in found} == {path.stem for path in shipped_rules()}
    assert all(0 <= (each.actual_true or 0) <= each.selected <= 12 for each in found)
    check_beginnings(tmp_path)


def check_beginnings(folder):
    """The files to try other commands on: rules that fit the catalog, spectra, images, fibers."""
    for name in ("my-first-rules.yaml", "one-field.yaml"):
        rules = Rules.read(folder / name)
        summary = select(folder / "catalog.scored.parquet", rules, folder / "mine.targets.parquet")
        assert len(summary.classes) >= 1
    spectra = read_spectra(folder / "measured-spectra.parquet")
    known = pq.read_table(folder / "known-spectra.parquet")
    assert len(spectra) == 5
    assert len(known) == 6
    measured = [each.source_id for each in spectra]
    assert known["source_id"].to_pylist()[:5] == measured
    store = CutoutStore.open(folder / "cutouts").read(np.array(measured))
    for source_id, flux in zip(measured, store.flux, strict=True):
        image = read_image(folder / "images" / f"{source_id}.fits", None)
        assert image.bands == store.bands
        assert image.pixel_scale == pytest.approx(store.pixel_scale)
        assert image.flux == pytest.approx(flux, nan_ok=True)
    targets = TargetList.read(folder / "quiescent.targets.parquet")
    found = join(targets, [Pointing.read(folder / "fba-simulated.fits")])
    assert found.assigned.sum() == found.matches[0].n_fibers >= 1
    field = TargetList.read(folder / "one-field.targets.parquet").table
    assert set(targets.table["source_id"].to_numpy()[found.assigned]) & set(
        field["source_id"].to_pylist()
    )


def test_every_tool_takes_a_list_of_the_demonstration_with_its_settings(tmp_path):
    run(tmp_path, n=12)
    names = {path.stem for path in (tmp_path / "settings").glob("*.yaml")}
    assert names == set(TOOLS)
    for name, tool in TOOLS.items():
        path = tmp_path / "settings" / f"{name}.yaml"
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith(f"# Settings of 'targetsel export --for {name}': ")
        settings = tool.settings.read(path, name)
        targets = TargetList.read(tmp_path / f"{list_for(path)}.targets.parquet")
        done = export(targets, tool, settings, tmp_path / f"list{tool.suffix}")
        assert check(done.targets, done.files[0]).n_targets == len(targets) > 0


def list_for(settings):
    """The list that a settings file of the demonstration is for."""
    return "one-field" if "one-field" in settings.read_text() else "quiescent"


@pytest.mark.parametrize("name", ["catalog.parquet", "truth.parquet", "spectra.parquet"])
@pytest.mark.parametrize("content", ["a file of yours", None])
def test_file_that_is_no_mock_skys_is_left_alone(tmp_path, name, content):
    if content:
        (tmp_path / name).write_text(content)
    else:
        pq.write_table(pa.table({"source_id": [1]}), tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(OutputError, match=f"{name}: already exists and is not of a mock sky"):
        write_demonstration(tmp_path, 2)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


RULES = """\
schema: targetsel/rules/v1
name: counted
classes:
  STRONG: {bit: 3, priority: 2, where: P(ew_halpha > 20 Angstrom) > 0.5}
  ANY: {bit: 0, priority: 1, where: rmag < 99 mag}
"""


def test_outcomes_count_what_the_truth_says_of_the_selected(tmp_path):
    # H alpha is predicted at 30 +- 10, so above 20 with probability 0.841, for sources 1, 2 and 3,
    # and at 10 +- 10 for source 4, which is not selected; in truth 1 and 4 are above 20.
    medians = [[5, 30, 1.5]] * 3 + [[5, 10, 1.5]]
    columns = {"rmag": (np.array([18.0, 19.0, 20.0, 21.0]), "mag")}
    table = scored_table(medians, [[1, 10, 0.1]] * 4, columns=columns)
    pq.write_table(table, tmp_path / "scored.parquet")
    truth = pa.table({"source_id": [4, 3, 2, 1], "ew_halpha": [50.0, 20.0, -3.0, 21.0]})
    pq.write_table(truth, tmp_path / "truth.parquet")
    rules = Rules.parse(RULES)
    summary = select(tmp_path / "scored.parquet", rules, tmp_path / "targets.parquet")
    strong, any_ = outcomes(summary, tmp_path / "scored.parquet", tmp_path / "truth.parquet", rules)
    assert strong == Outcome("counted", "STRONG", 3, pytest.approx(3 * 0.8413, abs=2e-3), 1)
    assert any_ == Outcome("counted", "ANY", 4, None, None)
