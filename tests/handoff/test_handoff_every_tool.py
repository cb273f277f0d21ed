"""What holds for every tool: golden files, round trips, and one clear line for a bad list.

The golden files were read by eye against the formats' documents. Binary tables are compared as
text: each column with its FITS format (I J K are int16, int32, int64; E D are float32, float64),
unit and values.
"""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from targetsel.errors import HandoffError
from targetsel.handoff.export import TOOLS, check, find_tool
from targetsel.handoff.settings import EpochSettings
from tests.handoff.lists_by_hand import moving_list, target_list
from tests.handoff.tools_by_hand import DESI_AND_PFS, GOLDEN, NAMES, SETTINGS, as_text, exported

OTHERS = NAMES[len(DESI_AND_PFS) :]
ASKED_FOR_EPOCH = [name for name in NAMES if issubclass(TOOLS[name].settings, EpochSettings)]
WITH_EPOCH = [n for n in NAMES if TOOLS[n].epoch is not None or n in ASKED_FOR_EPOCH]
COUNTED = [n for n in NAMES if TOOLS[n].priorities and not TOOLS[n].priorities.kept]
KEPT = ["nirspec", "deimos", "mosfire"]
NAMED = [name for name in NAMES if TOOLS[name].ids == "name"]
EPOCHS = {"desi": 2026.5, "pfs-uploader": 2000.0, "pfs-netflow": 2026.5, "pfs-ga": 2016.0}


def test_unknown_tool_is_an_error_with_a_hint():
    assert find_tool("desi").name == "desi"
    with pytest.raises(HandoffError, match=r"^unknown tool 'desy'. Did you mean 'desi'"):
        find_tool("desy")
    with pytest.raises(HandoffError, match=r"Known: desi, desi-tertiary, pfs-uploader"):
        find_tool("zzz")


def test_the_beginning_of_a_name_of_tools_is_answered_with_all_of_them():
    with pytest.raises(HandoffError, match="Choose one of pfs-uploader, pfs-netflow, pfs-ga"):
        find_tool("PFS")


def test_every_tool_names_its_source_and_its_verbs():
    for name, tool in TOOLS.items():
        assert tool.name == name
        assert tool.title
        assert tool.source
        assert "." in tool.suffix
        assert tool.names is None or tool.names_are


@pytest.mark.parametrize("name", NAMES)
def test_settings_marked_as_required_suffice_and_each_is_needed(name, tmp_path):
    settings = TOOLS[name].settings
    optional = [key for key in settings.model_fields if not settings.required(key)]
    required = [key for key in settings.model_fields if settings.required(key)]
    assert exported(name, tmp_path, changed=dict.fromkeys(optional)).files
    for key in required:
        with pytest.raises(HandoffError, match=f"'{key}'"):
            exported(name, tmp_path, changed=dict.fromkeys([*optional, key]))


@pytest.mark.parametrize("name", NAMES)
def test_file_is_the_one_read_by_eye(name, tmp_path):
    golden = next(GOLDEN.glob(f"{name}.*"))
    where = tmp_path / "list.csv" if golden.suffix == ".csv" else tmp_path  # not Feather
    path = exported(name, where).files[0]
    shown = as_text(path) if path.suffix == ".fits" else path.read_text()
    assert shown == golden.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_export_read_back_has_the_same_ids_positions_and_priorities(name, tmp_path):
    done = exported(name, tmp_path)
    report = check(done.targets, done.files[0])
    assert report.n_targets == 4
    assert report.largest_offset < 0.001  # arcsec


@pytest.mark.parametrize("name", [name for name in OTHERS if TOOLS[name].priorities])
def test_order_of_priorities_is_that_of_the_list(name, tmp_path):
    priorities = np.array([5000, 3000, 4000, 3000])
    targets = target_list(ra=[150.0] * 4, dec=[2.2, 2.21, 2.22, 2.23], priority=priorities)
    done = exported(name, tmp_path, targets)
    back = TOOLS[name].read(done.files[0])
    better = -TOOLS[name].priorities.step
    row = {str(each): k for k, each in enumerate(back.id.tolist())}
    tools = np.array([back.priority[row[str(each)]] for each in done.targets.id.tolist()])
    assert np.array_equal(np.argsort(better * tools, kind="stable"), [1, 3, 2, 0])
    assert tools[1] == tools[3]


@pytest.mark.parametrize("name", [name for name in WITH_EPOCH if name in OTHERS])
def test_positions_are_where_the_target_is_at_the_epoch_of_the_file(name, tmp_path):
    done = exported(name, tmp_path)
    back = TOOLS[name].read(done.files[0])
    moved = 0.0 if TOOLS[name].epoch == "columns" else 10 / 3600  # deg in ten years
    assert back.ra[1] == pytest.approx(150.01 + moved / np.cos(np.radians(2.21)), abs=2e-7)
    assert back.dec[2] == pytest.approx(2.22 - moved, abs=2e-7)


@pytest.mark.parametrize("name", NAMES)
def test_same_list_gives_the_same_bytes(name, tmp_path):
    first = [path.read_bytes() for path in exported(name, tmp_path).files]
    assert [path.read_bytes() for path in exported(name, tmp_path).files] == first
    assert not any(b"DATE    =" in content for content in first)


@pytest.mark.parametrize("name", [name for name in NAMES if TOOLS[name].ids == "row"])
def test_numbered_targets_come_with_a_map_of_their_ids(name, tmp_path):
    done = exported(name, tmp_path)
    ids = next(path for path in done.files if path.name.endswith(".ids.ecsv"))
    assert ids.read_text().splitlines()[-4:] == [
        "1,101,101,by hand",
        "2,102,102,by hand",
        "3,103,103,by hand",
        "4,104,104,by hand",
    ]


@pytest.mark.parametrize("name", WITH_EPOCH)
def test_motion_that_only_some_targets_have_is_an_error_unless_assumed_still(name, tmp_path):
    with pytest.raises(HandoffError, match=r"[23] of 4 targets lack .*say --assume-still"):
        exported(name, tmp_path, assume_still=False)


@pytest.mark.parametrize("name", COUNTED)
def test_more_levels_than_the_tool_has_are_refused_unless_merged(name, tmp_path):
    n = TOOLS[name].priorities.n_levels + 1
    near = {"ra": np.full(n, 150.0), "dec": 2.2 + 1e-4 * np.arange(n)}
    targets = target_list(n, **near, priority=np.arange(n))
    with pytest.raises(HandoffError, match=f"{n} different priorities; '{name}' has {n - 1}"):
        exported(name, tmp_path, targets)
    done = exported(name, tmp_path, targets, bin_priorities=True)
    assert check(done.targets, done.files[0]).with_priorities


@pytest.mark.parametrize("name", KEPT)
def test_weights_below_one_are_refused(name, tmp_path):
    targets = target_list(ra=[150.0] * 4, dec=[2.2] * 4, priority=[5, 0, 1, 2])
    with pytest.raises(HandoffError, match=rf"priorities from 0 to 5 do not fit '{name}'"):
        exported(name, tmp_path, targets)


@pytest.mark.parametrize("name", NAMED)
def test_names_with_forbidden_characters_are_refused(name, tmp_path):
    targets = target_list(source_id=["a", "b", "c\n1", "d"], ra=[150.0] * 4, dec=[2.2] * 4)
    with pytest.raises(HandoffError, match=f"1 of 4 names are not for '{name}'"):
        exported(name, tmp_path, targets)


@pytest.mark.parametrize(
    "name", [name for name in OTHERS if name not in ("weave", "nirspec", "tom", "table")]
)
def test_list_without_fluxes_is_refused_where_a_magnitude_is_needed(name, tmp_path):
    targets = target_list(
        ra=[150.0] * 4, dec=[2.2, 2.21, 2.22, 2.23], flux_g_sdss=None, flux_r_sdss=None
    )
    with pytest.raises(HandoffError, match=f"no flux in any filter that '{name}' knows"):
        exported(name, tmp_path, targets)


@pytest.mark.parametrize("name", ASKED_FOR_EPOCH)
def test_missing_epoch_setting_is_named(name, tmp_path):
    with pytest.raises(HandoffError, match=r"(needs the setting|missing key) 'epoch'"):
        exported(name, tmp_path, changed={"epoch": None})


def test_targets_without_flux_in_the_filter_get_magnitude_99(tmp_path):
    flux = [1000.0, None, -3.0, 10.0]
    targets = target_list(ra=[150.0] * 4, dec=[2.2] * 4, flux_r_sdss=flux)
    lines = exported("mosfire", tmp_path, targets).files[0].read_text().splitlines()
    assert [line.split()[2] for line in lines] == ["23.90", "99.00", "99.00", "28.90"]


def test_list_of_unknown_magnitudes_only_is_refused(tmp_path):
    targets = target_list(ra=[150.0] * 4, dec=[2.2] * 4, flux_r_sdss=[None, None, -1.0, 0.0])
    with pytest.raises(HandoffError, match=r"no target has a flux above zero in r_sdss.*`filter`"):
        exported("mosfire", tmp_path, targets)


def test_name_that_looks_like_a_comment_is_refused(tmp_path):
    targets = target_list(source_id=["a", "#b", "c", "d"])
    for name in ("2df", "mosfire"):
        with pytest.raises(HandoffError, match=r"the first is '#b'; .* not beginning with .*#"):
            exported(name, tmp_path, targets)


def test_filter_can_be_chosen_and_a_wrong_one_is_named(tmp_path):
    text = exported("deimos", tmp_path, changed={"filter": "g_sdss"}).files[0].read_text()
    assert " 23.90 G 3400\n" in text
    with pytest.raises(HandoffError, match=r"no flux_g_sds\. Did you mean 'g_sdss'"):
        exported("deimos", tmp_path, changed={"filter": "g_sds"})


def test_2df_takes_800_targets(tmp_path):
    with pytest.raises(HandoffError, match="has 801 targets; '2df' takes 800 at most"):
        exported("2df", tmp_path, target_list(801))


@pytest.mark.parametrize("name", ["gmmps", "gmskcreate"])
def test_gemini_ids_are_16_bit(name, tmp_path):
    with pytest.raises(HandoffError, match=r"has 32768 targets; .* takes 32767 at most"):
        exported(name, tmp_path, target_list(32768))


def test_2df_refuses_a_center_off_the_sky(tmp_path):
    with pytest.raises(HandoffError, match=r"field center 400, 2\.2 is no position"):
        exported("2df", tmp_path, changed={"ra": "400"})


def test_readers_leave_out_what_users_append(tmp_path):
    added = {
        "2df": "sky1 10 00 00.0 +02 12 00.0 S 9 20.0 0 sky\n",
        "hectospec": "10:00:00.0\t+02:12:00.0\tstar\t\tguide\t14.2\n",
        "deimos": "star 10:00:00.0 +02:12:00.0 2000.0 17.0 R -2\n",
        "mosfire": "star -1 17.0 10:00:00.0 02:12:00.0 2000.0 2000.0\n",
        "gmskcreate": "9 150.0 2.2 14.6 0 2.0 2.0 0.0 0.0\n",
    }
    for name, line in added.items():
        done = exported(name, tmp_path)
        with open(done.files[0], "a") as stream:
            stream.write(line)
        assert check(done.targets, done.files[0]).n_targets == 4, name


def test_moving_list_is_what_it_says():
    table = moving_list().table
    assert table["pmra"].to_pylist() == [None, 1000.0, 0.0, None]
    assert table["ref_epoch"].to_pylist() == [None, 2016.5, 2016.5, None]


def many_moving(n: int = 50):
    """Targets all over the sky with motions up to 5 arcsec/yr and nine priorities."""
    rng = np.random.default_rng(4)
    level = rng.integers(1, 10, n)
    return target_list(
        n,
        target_id=rng.permutation(2**62 // n * np.arange(n)),
        ra=rng.uniform(0, 360, n),
        dec=np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
        pmra=rng.uniform(-5000, 5000, n),
        pmdec=rng.uniform(-5000, 5000, n),
        ref_epoch=rng.uniform(2000, 2020, n),
        priority=1000 * level,
        program=[f"C{each}" for each in level],
        exptime=np.full(n, 900.0),
    )


@pytest.mark.parametrize("name", DESI_AND_PFS)
def test_ids_order_of_priorities_and_positions_survive(tmp_path, name):
    tool = TOOLS[name]
    targets = many_moving()
    values = {"exptime": None, "obsconditions": "DARK"}
    values = {k: v for k, v in values.items() if k in SETTINGS[name]}
    done = exported(name, tmp_path, targets, values, assume_still=False)
    back = tool.read(done.files[0])
    assert back.id.tolist() == done.targets.id.tolist()
    if not tool.numbers_rows:
        assert back.id.tolist() == targets.table["target_id"].to_pylist()
    own = targets.table["priority"].to_numpy()
    goodness = -tool.priorities.step * back.priority
    assert (np.sign(own[:, None] - own) == np.sign(goodness[:, None] - goodness)).all()
    assert where_they_are(targets, EPOCHS.get(name), back).max() < 0.001
    report = check(done.targets, done.files[0])
    assert report.n_targets == 50
    assert report.with_priorities
    assert report.largest_offset < 0.001


def where_they_are(targets, epoch, back) -> np.ndarray:
    """Distance [arcsec] of what was read back from a great circle walked by hand."""
    ra, dec, pmra, pmdec, since = (
        targets.table[name].to_numpy() for name in ("ra", "dec", "pmra", "pmdec", "ref_epoch")
    )
    start = SkyCoord(ra, dec, unit="deg")
    years = (epoch if epoch is not None else since) - since
    # On a straight line the angle is the arc tangent of the path.
    angle = np.arctan(np.hypot(pmra, pmdec) * years * np.radians(1 / 3.6e6))
    there = start.directional_offset_by(np.arctan2(pmra, pmdec) * units.rad, angle * units.rad)
    return there.separation(SkyCoord(back.ra, back.dec, unit="deg")).arcsec
