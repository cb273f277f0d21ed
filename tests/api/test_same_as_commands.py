"""Functions give what their commands write."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import targetsel as ts
import targetsel.imaging.folder
from tests.calibration.known_sky import write_known


@pytest.fixture(scope="module")
def known(ensemble_folder, tmp_path_factory):
    """Scored sources and their truth, for the tiny ensemble; read only."""
    folder = tmp_path_factory.mktemp("known")
    return write_known(folder, ts.Ensemble.read(ensemble_folder))


def same_rows(ours, path):
    """Whether rows in memory are those of a file, with its footer."""
    theirs = ts.Scored.read(path)
    return ours.table.equals(theirs[:].table) and ours.footer == theirs.footer


def test_observing_adds_the_columns_that_the_command_adds(folder, scored, command, tmp_path):
    output = tmp_path / "observed.parquet"
    command("observe", folder / "catalog.scored.parquet", "--size", "2arcsec", "-o", output)
    assert same_rows(ts.observe(scored, 2.0), output)
    assert same_rows(ts.observe(scored[:], 2), output)


def test_a_site_and_nights_add_what_the_command_adds(scored, command, tmp_path):
    nights = ("--site", "gemini north", "--night", "2027-03-14", "--night", "2027-03-16")
    limits = ("--airmass", 1.5, "--horizon", 20, "--twilight", "nautical")
    theirs = tmp_path / "theirs.parquet"
    command("observe", scored.path, "--size", "2arcsec", *nights, *limits, "-o", theirs)
    site = ts.Site("mine", *(getattr(ts.sites()["Gemini_N"], name) for name in
                             ("longitude", "latitude", "height")))  # fmt: skip
    asked = {"airmass": 1.5, "horizon": 20, "twilight": "nautical"}
    ours = ts.observe(scored, 2.0, site=site, night=["2027-03-14", "2027-03-16"], **asked)
    assert ours.table.equals(ts.Scored.read(theirs)[:].table)
    output = tmp_path / "up.parquet"
    command("visibility", scored.path, *nights, *limits, "-o", output)
    up = ts.visibility(scored.path, site, ["2027-03-14", "2027-03-16"], **asked)
    assert up.table.equals(pq.read_table(output).replace_schema_metadata(up.table.schema.metadata))
    assert (up["hours_up"] == ours["hours_up"]).all()


def test_observing_takes_the_options_of_the_command(folder, scored, command, tmp_path):
    words = ("--size", "1.5arcsec", "--line", "halpha", "--exposure", "15min", "--snr", 7,
             "--spectrograph", "pfs", "--redshift", 0.1, "--redshift-error", 0.01)  # fmt: skip
    command("observe", scored.path, *words, "-o", tmp_path / "theirs.parquet")
    ours = ts.observe(
        scored.path, 1.5, tmp_path / "ours.parquet", spectrograph="pfs", lines=["halpha"],
        exposure="15min", snr=7, redshift=0.1, redshift_error=0.01,
    )  # fmt: skip
    assert ours.path == tmp_path / "ours.parquet"
    assert (tmp_path / "ours.parquet").read_bytes() == (tmp_path / "theirs.parquet").read_bytes()


def test_comparing_adds_the_surprises_that_the_command_adds(
    known, ensemble_folder, command, tmp_path
):
    scored, truth = known
    output = tmp_path / "compared.parquet"
    words = ("--spectra", truth, "--ensemble", ensemble_folder, "--seed", 3)
    command("compare", scored, *words, "-o", output)
    assert same_rows(ts.compare(scored, truth, ensemble=ensemble_folder, seed=3), output)


def test_calibrating_fits_what_the_command_fits(known, ensemble_folder, command, tmp_path):
    scored, truth = known
    shutil.copytree(ensemble_folder, tmp_path / "tiny")
    command("calibrate", scored, "--truth", truth, "--ensemble", tmp_path / "tiny", "--no-local")
    ours = ts.calibrate(scored, truth, ensemble_folder, local=False)
    theirs = ts.Ensemble.read(tmp_path / "tiny").calibration
    assert ours.sha256 == theirs.sha256


@pytest.mark.parametrize(
    ("tool", "ending", "settings"),
    [("table", "csv", None), ("desi", "fits", {"epoch": 2026.5, "obsconditions": "DARK"})],
)
def test_exporting_writes_the_files_that_the_command_writes(
    folder, command, tmp_path, tool, ending, settings
):
    targets, config = folder / "emission.targets.parquet", tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(settings or {}))
    for where in ("ours", "theirs"):
        (tmp_path / where).mkdir()
    ours, theirs = (tmp_path / where / f"list.{ending}" for where in ("ours", "theirs"))
    given = () if settings is None else ("--config", config)
    command("export", targets, "--for", tool, *given, "-o", theirs)
    done = ts.export(ts.read(targets), tool, str(ours), config=settings)
    assert done.files[0] == ours
    assert {path.name: path.read_bytes() for path in ours.parent.iterdir()} == {
        path.name: path.read_bytes() for path in theirs.parent.iterdir()
    }


def test_packing_a_folder_of_images_makes_the_store_of_the_command(folder, command, tmp_path):
    catalog = ts.read(folder / "catalog.parquet")
    store = ts.read(folder / "cutouts")
    ids = catalog.source_id[:3]
    (tmp_path / "images").mkdir()
    for source, flux in zip(ids, store.read(ids).flux, strict=True):
        np.save(tmp_path / "images" / f"{source}.npy", flux)
    words = ("--catalog", folder / "catalog.parquet", "--bands", "grizy", "--pixel-scale", 0.25,
             "--size", 32, "--zeropoint", 22.5)  # fmt: skip
    command("cutouts", "pack", tmp_path / "images", "-o", tmp_path / "theirs", *words)
    ours = ts.pack(
        tmp_path / "images", catalog, tmp_path / "ours", bands="grizy", pixel_scale=0.25, size=32,
        zeropoint=22.5,
    )  # fmt: skip
    theirs = ts.CutoutStore.open(tmp_path / "theirs")
    assert ours.source_ids(9).tolist() == theirs.source_ids(9).tolist()
    assert sorted(ours.source_ids(9)) == sorted(ids)
    assert np.array_equal(ours.read(ids).flux, theirs.read(ids).flux, equal_nan=True)
    assert [path.name for path in sorted((tmp_path / "ours").rglob("*.parquet"))] == [
        path.name for path in sorted((tmp_path / "theirs").rglob("*.parquet"))
    ]
    assert pq.read_table(tmp_path / "ours").equals(pq.read_table(tmp_path / "theirs"))


def test_a_folder_of_images_is_scored_as_it_was_read(folder, tmp_path):
    """Images go to the networks as they are: not rounded by a store's encoding."""
    catalog = ts.read(folder / "catalog.parquet")[:2]
    cutouts = ts.read(folder / "cutouts").read(catalog.source_id)
    (tmp_path / "images").mkdir()
    for source, flux in zip(catalog.source_id, cutouts.flux, strict=True):
        np.save(tmp_path / "images" / f"{source}.npy", flux)
    images = ts.Folder.open(tmp_path / "images", tuple("grizy"), 0.25, 64, 22.5)
    ours = ts.score(catalog, images)
    assert ours["status"].tolist() == ["ok", "ok"]
    theirs = ts.score(catalog, cutouts)
    np.testing.assert_allclose(ours["d4000"], theirs["d4000"], rtol=0.02)


@pytest.fixture
def images(folder, tmp_path):
    """Six sources as a catalog, and a folder of their images but for that of the fourth."""
    catalog = ts.read(folder / "catalog.parquet", "catalog")[:6]
    cutouts = ts.read(folder / "cutouts", "cutouts").read(catalog.source_id)
    (tmp_path / "images").mkdir()
    for row, source in enumerate(catalog.source_id):
        if row != 3:
            np.save(tmp_path / "images" / f"{source}.npy", cutouts.flux[row])
    return catalog, ts.Folder.open(tmp_path / "images", tuple("grizy"), 0.25, 64, 22.5)


def brightest(catalog, n):
    """Rules that need the predictions of the n brightest sources alone."""
    cut = f"{np.sort(catalog['rmag'])[n] - 1e-4:.5f} mag"
    return ts.Rules.parse(
        "schema: targetsel/rules/v1\nname: few\nclasses:\n  LINE:\n    priority: 1\n    where:\n"
        f"      - rmag < {cut}\n      - P(ew_halpha > 0 Angstrom) > 0.001\n"
    )


@pytest.mark.parametrize("n", [0, 1, 3])
def test_images_of_sources_that_no_rule_needs_are_not_read(images, monkeypatch, n):
    catalog, folder = images
    read, original = [], targetsel.imaging.folder.read_image
    with monkeypatch.context() as patch:
        patch.setattr(
            targetsel.imaging.folder,
            "read_image",
            lambda file, *given: read.append(int(file.stem)) or original(file, *given),
        )
        ours = ts.score(catalog, folder, rules=brightest(catalog, n))
    needed = catalog.source_id[np.argsort(catalog["rmag"])[:n]]
    has_image = [each for each in needed if str(each) in folder.files]
    # A store is never empty, so that one image is read where no needed source has one.
    assert sorted({*read}) == sorted(has_image or [catalog.source_id[0]])
    assert (ours["status"] != "not needed").sum() == n
    whole = ts.score(catalog, folder)
    for name in ("ew_halpha", "typicality", "latent_mean"):
        rows = np.isin(ours["source_id"], needed)
        np.testing.assert_array_equal(ours[name][rows], whole[name][rows])


def test_cutouts_in_memory_are_scored_for_rules_as_a_folder_of_them_is(images):
    catalog, folder = images
    one = ts.score(catalog, folder, rules=brightest(catalog, 3))
    other = ts.score(catalog, folder.read(catalog.source_id), rules=brightest(catalog, 3))
    assert one.table.equals(other.table)
