"""Everything a user can get wrong: one clear line, exit status 2, and nothing written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import KEY, CutoutStore
from targetsel.tables.files import held, sha256_of_file
from targetsel.tables.parquet import described

RULES = """\
schema: targetsel/rules/v1
name: bright
classes:
  BRIGHT: {bit: 0, priority: 100, where: rmag < 20 mag}
"""


@pytest.fixture
def catalog(sky):
    return pq.read_table(sky / "catalog.parquet")


@pytest.fixture
def refuses(refused):
    """Score a catalog with the tiny ensemble, which must fail; gives the line."""

    def refuses(path="catalog.parquet", *words, ensemble="tiny"):
        return refused("score", path, "--ensemble", ensemble, *words)

    return refuses


def with_column(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


# --- catalogs -------------------------------------------------------------------------------


def test_missing_catalog_is_answered_with_the_nearest_name(refuses):
    assert refuses("catalogs.parquet") == (
        "catalogs.parquet: no such file or folder. Did you mean 'catalog.parquet'?"
    )


def test_path_that_the_system_refuses_is_told_in_its_words(refuses):
    assert refuses("x" * 300 + ".parquet").endswith("x.parquet: File name too long.")
    assert refuses("catalog.parquet/x.parquet").startswith("catalog.parquet/x.parquet: ")


def test_empty_catalogs_are_refused(refuses, sky, catalog):
    pq.write_table(catalog.slice(0, 0), sky / "empty.parquet")
    (sky / "empty.csv").write_text("source_id,ra,dec\n")
    (sky / "empty.fits").write_bytes(b"")
    assert (
        refuses("empty.parquet")
        == "empty.parquet: the catalog has no rows; expected one for each source."
    )
    assert (
        refuses("empty.csv") == "empty.csv: the catalog has no rows; expected one for each source."
    )
    assert "not a FITS file; expected one that begins with SIMPLE" in refuses("empty.fits")


def test_column_that_is_not_there_is_named_with_its_option(refuses):
    line = refuses("catalog.parquet", "--ra-col", "raa")
    assert line == "catalog.parquet: no column 'raa' (--ra-col). Did you mean 'ra'?"


def test_repeated_ids_are_named(refuses, sky, catalog):
    pq.write_table(pa.concat_tables([catalog, catalog.slice(3, 1)]), sky / "twice.parquet")
    number = catalog["source_id"][3]
    assert f"ids are repeated: {number} (rows 3 and 40)" in refuses("twice.parquet")


def test_float_ids_that_lost_digits_are_refused(refuses, sky, catalog):
    floats = with_column(catalog, "source_id", 2.0**60 + 1024 * np.arange(40.0))
    pq.write_table(floats, sky / "float.parquet")
    assert "column 'source_id': ids are floats (double)" in refuses("float.parquet")


def test_positions_off_the_sphere_are_counted(refuses, sky, catalog):
    pq.write_table(with_column(catalog, "dec", [95.0] * 40), sky / "off.parquet")
    assert "'dec' is off the sphere in 40 of 40 rows" in refuses("off.parquet")


@pytest.mark.parametrize(("unit", "message"), [("rad", "is in 'rad'"), ("", "look like radians")])
def test_radians_are_refused_with_or_without_their_unit(refuses, sky, catalog, unit, message):
    fields = [described("source_id", pa.int64())]
    fields += [described(name, pa.float64(), unit) for name in ("ra", "dec")]
    columns = [catalog["source_id"], np.linspace(0, 6.28, 40), np.linspace(-1.5, 1.5, 40)]
    pq.write_table(pa.table(columns, schema=pa.schema(fields)), sky / "radians.parquet")
    assert message in refuses("radians.parquet")


def test_truncated_parquet_is_refused(refuses, sky):
    whole = (sky / "catalog.parquet").read_bytes()
    (sky / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    assert refuses("cut.parquet").startswith("cut.parquet: not a Parquet file, or damaged or cut")


def test_two_columns_of_one_name_are_refused(refuses, sky, catalog):
    columns = [catalog[name] for name in ("source_id", "ra", "dec", "ra", "dec")]
    table = pa.table(columns, names=["source_id", "ra", "dec", "x", "x"])
    pq.write_table(table, sky / "double.parquet")
    assert refuses("double.parquet") == (
        "double.parquet: has several columns 'x'. Rename or drop one."
    )


def test_scored_catalog_is_not_scored_again(refuses, sky, targetsel):
    assert targetsel("score", "catalog.parquet", "--ensemble", "tiny").status == 0
    assert "which score would write" in refuses("catalog.scored.parquet")


# --- cutouts --------------------------------------------------------------------------------


def test_missing_cutouts_ask_for_a_store(refuses, sky):
    shutil.rmtree(sky / "cutouts")
    assert refuses() == "cutouts: no cutout store there. Name one with --cutouts."
    line = refuses("catalog.parquet", "--cutouts", "catalog.parquet")
    assert line.startswith("catalog.parquet: has no column 'image' of images. Name images or")
    shutil.copy(sky / "catalog.parquet", sky / "other.parquet")
    line = refuses("catalog.parquet", "--cutouts", "other.parquet")
    assert "a Parquet file, but not a cutout store" in line


def test_store_that_does_not_suit_the_ensemble_is_told_with_both_sides(refuses, sky):
    store = CutoutStore.open(sky / "cutouts")
    cutouts, at = store.read(store.source_ids(4)), np.zeros(4)
    sigma = list(store.sky_sigma)
    coarse = Cutouts(cutouts.source_id, cutouts.flux, cutouts.bands, 0.4)
    four = cutouts.select_bands(("g", "r", "i", "z"))
    write_store(sky / "small", [(cutouts.crop(48), at, at)], sigma)
    write_store(sky / "coarse", [(coarse, at, at)], sigma)
    write_store(sky / "four", [(four, at, at)], sigma[:4])
    for name, line in {
        "small": "its cutouts are 48 x 48 pixels, but tiny needs 64 x 64.",
        "coarse": "its pixels are 0.4 arcsec, but tiny needs 0.25 arcsec.",
        "four": "its bands are g, r, i, z, but tiny needs g, r, i, z, y. "
        "Pack cutouts that have y too, or use --ensemble with one trained for these bands.",
    }.items():
        assert refuses("catalog.parquet", "--cutouts", name).startswith(f"{name}: {line}")


def test_store_of_other_ids_leaves_no_trace(refuses, sky, catalog):
    names = [f"J{number}" for number in catalog["source_id"].to_pylist()]
    pq.write_table(with_column(catalog, "source_id", names), sky / "names.parquet")
    line = refuses("names.parquet")
    assert "names.parquet: none of its 40 ids is among the 40 of cutouts (such as J" in line


def test_damaged_pixels_leave_no_trace(refuses, sky):
    part = sky / "cutouts" / "part-00000.parquet"
    content = bytearray(part.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    part.write_bytes(content)
    assert "CRC checksum verification failed" in refuses()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"version": 2},
            "or of another version of targetsel (version: Input should be 1)",
        ),
        ({"bands": None}, "of targetsel (bands: Field required). Pack the cutouts again."),
        (
            {"bands": ["g", "r"]},
            "(Value error, 5 sky sigmas for 2 bands; expected one each). Pack the cutouts again.",
        ),
        ({"pixel_scale": "fine"}, "(pixel_scale: Input should be a valid number"),
        ({"height": 63}, "column 'flux' is"),
        ({"parts": 3}, "1 of the 3 files of this cutout store are here"),
    ],
)
def test_store_with_a_foreign_footer_is_refused(refuses, sky, change, message):
    part = sky / "cutouts" / "part-00000.parquet"
    table = pq.read_table(part)
    facts = json.loads(pq.read_metadata(part).metadata[KEY]) | change
    facts = {name: value for name, value in facts.items() if value is not None}
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(facts)}), part)
    assert message in refuses()


# --- ensembles ------------------------------------------------------------------------------


def rehash(folder):
    """Write the card anew for the files that are there now, as a forger would."""
    card = json.loads((folder / "card.json").read_text())
    card["files"] = {name: sha256_of_file(folder / name) for name in card["files"]}
    (folder / "card.json").write_text(json.dumps(card))


def test_unknown_ensemble_lists_the_shipped_ones(refuses):
    line = refuses(ensemble="mock-ps")
    assert "no such folder or shipped ensemble. Did you mean 'mock-ps1'?" in line
    assert "has no card.json, so it is not an ensemble" in refuses(ensemble="cutouts")


@pytest.mark.parametrize("name", ["member-0", "decoder", "novelty"])
def test_damaged_weights_are_named(refuses, sky, name):
    path = sky / "tiny" / f"{name}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert "not a safetensors file, or damaged" in refuses()
    path.write_bytes(whole[:-4] + b"\0\0\0?")
    assert "not what card.json was written for" in refuses()
    path.unlink()
    assert refuses() == (
        f"tiny/{name}.safetensors: no such file; expected weights. Name the folder of an ensemble "
        "or decoder, or copy it again as a whole."
    )


def test_pickle_in_place_of_safetensors_is_never_opened(refuses, sky):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(sky / "executed"),)

    (sky / "tiny" / "member-1.safetensors").write_bytes(pickle.dumps(Trap()))
    rehash(sky / "tiny")
    assert "pickled weights (.pth, .pt, .pkl) are never opened" in refuses()
    assert not (sky / "executed").exists()


def test_weights_of_another_shape_are_named_with_both_shapes(refuses, sky):
    path = sky / "tiny" / "member-0.safetensors"
    tensors = load_file(path)
    tensors["head.weight"] = tensors["head.weight"][:-1].clone()
    save_file(tensors, path)
    rehash(sky / "tiny")
    line = refuses()
    assert "tensor 'head.weight' has shape (26, 64), but the network needs (27, 64)" in line


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("{", "card.json:1:2: error: not valid JSON: "),
        ("[]", "schema is 'list', expected 'targetsel/ensemble/v1'"),
        ('{"schema": "other/v9"}', "schema is 'other/v9', expected"),
    ],
)
def test_foreign_card_is_refused(refuses, sky, card, message):
    (sky / "tiny" / "card.json").write_text(card)
    assert message in refuses()


# --- rules ----------------------------------------------------------------------------------


@pytest.fixture
def scored(sky, targetsel):
    assert targetsel("score", "catalog.parquet", "--ensemble", "tiny").status == 0
    return sky / "catalog.scored.parquet"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("priority", "prio", ":4:20: error: unknown key 'prio' in classes.BRIGHT. Did you mean"),
        ("rmag", "rmagg", ":4:42: error: unknown column 'rmagg'. Did you mean 'rmag'?"),
        ("rmag < 20 mag", "P(ew_halpa > 2 Angstrom) > 0.5", "'ew_halpa'. Did you mean 'ew_halpha'"),
    ],
)
def test_fault_in_the_rules_is_shown_with_its_line_below(scored, targetsel, old, new, message):
    (scored.parent / "bright.yaml").write_text(RULES.replace(old, new))
    said = targetsel("select", scored, "--rules", "bright.yaml")
    assert said.status == 2
    first, shown, caret = said.err.splitlines()
    assert message in first
    assert new in shown
    assert caret.strip() == "^"
    assert not list(scored.parent.glob("*.targets.parquet"))


def test_scored_file_that_is_none_or_damaged_is_refused(refused, scored):
    line = refused("select", "catalog.parquet", "--rules", "emission")
    assert "so it is not a scored catalog. Make one with 'targetsel score'." in line
    assert refused("select", "sky.parquet", "--rules", "emission") == (
        "sky.parquet: no such file or folder. Did you mean 'catalog.parquet'?"
    )
    scored.write_bytes(scored.read_bytes()[:-1000])
    assert "not a Parquet file, or damaged or cut short" in refused("select", "--rules", "emission")


# --- results --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("missing/out.parquet", "the folder missing does not exist. Create it first."),
        ("tiny", "is read by the same command."),
        ("other", "is a folder; expected a file's name."),
        ("/dev/full", "is a device or pipe; expected a file's name."),
        ("catalog.parquet", "is read by the same command."),
        ("./tiny/../catalog.parquet", "is read by the same command."),
        ("cutouts/out.parquet", "lies in the folder cutouts, which is read by the same command."),
    ],
)
def test_result_has_a_place_of_its_own(refuses, sky, output, message):
    (sky / "other").mkdir(exist_ok=True)
    assert message in refuses("catalog.parquet", "-o", output)


def test_result_does_not_mingle_with_the_folder_it_came_from(refuses, sky):
    (sky / "survey").mkdir()
    shutil.move(sky / "catalog.parquet", sky / "survey" / "a.parquet")
    line = refuses("survey", "-o", "survey/out.parquet")
    assert "lies in the folder survey, which is read by the same command." in line


def test_target_list_does_not_replace_the_scored_file(refused, scored):
    words = ("select", scored, "--rules", "emission", "-o", scored)
    assert refused(*words).endswith("is read by the same command. Choose another name.")


def test_picture_does_not_replace_the_store(refused, sky):
    line = refused("cutouts", "show", "cutouts", "-o", "cutouts/part-00000.parquet")
    assert "is read by the same command" in line


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_folder_that_is_not_writable_is_told(refuses, sky):
    (sky / "shut").mkdir(mode=0o500)
    assert "Permission denied" in refuses("catalog.parquet", "-o", "shut/out.parquet")


def test_second_run_for_the_same_result_is_refused(refuses, sky):
    with held(sky / "catalog.scored.parquet.partial"):
        line = refuses()
    assert "another run is writing there. Wait for it" in line


def test_full_disk_leaves_nothing(sky):
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "from targetsel.cli import main; main()"
    )
    words = ["score", "catalog.parquet", "--ensemble", "tiny", "-o", "out.parquet"]
    run = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    (line,) = run.stderr.splitlines()
    assert "could not be written" in line
    assert "File too large" in line
    assert not list(sky.glob("*out.parquet*"))


def test_python_minus_m_is_the_command_line(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "targetsel", "score", "nowhere.parquet"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stderr.startswith("nowhere.parquet: ")


# --- the demonstration and the packing --------------------------------------------------------


def test_demonstration_replaces_nothing_of_the_users(refused, sky, catalog):
    assert "is a file; expected a folder" in refused("demo", "catalog.parquet", "--n", "2")
    (sky / "mine").mkdir()
    plain = pa.table({"source_id": [1], "ra": [1.0], "dec": [1.0]})
    pq.write_table(plain, sky / "mine" / "catalog.parquet")
    line = refused("demo", "mine", "--n", "2")
    assert line.endswith("already exists and is not of a mock sky. Choose another folder.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "0"), "size 0, expected a number of pixels above zero."),
        (("--size", "65"), "has 64 pixels on its shorter side, expected at least 65."),
        (("--pixel-scale", "0"), "pixel scale 0, expected arcsec above zero."),
        (("--zeropoint", "nan"), "zero point nan; expected the AB magnitude of one count, 0"),
        (("--zeropoint", "-2.5"), "zero point -2.5; expected the AB magnitude of one count, 0 to"),
        (("--bands", "gq"), "unknown band 'q'."),
        (("-o", "tiny"), "already exists and is not a cutout store."),
    ],
)
def test_packing_refuses_numbers_and_places_that_cannot_be(refused, sky, words, message):
    (sky / "images").mkdir()
    np.save(sky / "images" / "1.npy", np.zeros((5, 64, 64), np.float32))
    defaults = {
        "--pixel-scale": "0.25", "--zeropoint": "22.5", "--bands": "grizy", "-o": "packed",
    } | {words[0]: words[1]}  # fmt: skip
    options = [word for pair in defaults.items() for word in pair]
    line = refused("cutouts", "pack", "images", "--catalog", "catalog.parquet", *options)
    assert message in line
