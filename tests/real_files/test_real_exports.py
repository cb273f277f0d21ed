"""What a tool would take wrongly without a word: positions, magnitudes and names."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.photometry.flux import extinction
from targetsel.tables.parquet import described
from tests.handoff.lists_by_hand import moving_list, target_list
from tests.handoff.tools_by_hand import SETTINGS, exported

CORRECTED = "SDSS Petrosian flux in r, corrected for Galactic extinction"


def said(about, **changed):
    """The list by hand, whose flux in r has this description."""
    targets = target_list(ra=[150.0] * 4, dec=[2.2, 2.21, 2.22, 2.23], **changed)
    table = targets.table
    at = table.schema.get_field_index("flux_r_sdss")
    field = described("flux_r_sdss", table.schema.field(at).type, "nJy", "", about)
    return type(targets)(table.set_column(at, field, table[at]), targets.footer)


# --- positions -----------------------------------------------------------------------------------


def test_netflow_gets_positions_of_the_night_as_it_moves_none(tmp_path):
    path = exported("pfs-netflow", tmp_path, moving_list()).files[0]
    table = Table.read(path, format="ascii.ecsv")
    # 103 moves by 1 arcsec/yr to the south, from 2016.5 to 2026.5.
    assert table["Dec."][2] == pytest.approx(2.22 - 10 / 3600, abs=1e-8)


def test_motions_for_ga_targeting_come_with_a_parallax_that_keeps_them(tmp_path):
    targets = target_list(
        parallax=[None, 0.5, np.nan, 2.0], pmra=[5.0] * 4, pmdec=[5.0] * 4, ref_epoch=[2016.0] * 4
    )
    rows = pd.read_feather(exported("pfs-ga", tmp_path, targets).files[0])
    assert rows["parallax"].tolist() == pytest.approx([1e-7, 0.5, 1e-7, 2.0])
    assert rows["pmra"].tolist() == [5.0] * 4


# --- brightness ----------------------------------------------------------------------------------


def test_apogee_lists_need_an_h_magnitude(tmp_path):
    with pytest.raises(HandoffError, match=r"4 of 4 targets have no flux in flux_h_2mass, and APO"):
        exported("sdss-v", tmp_path, changed={"fiber_type": "APOGEE"})
    targets = target_list(flux_h_2mass=([1e6] * 4, "nJy"))  # AB magnitude 16.4
    path = exported("sdss-v", tmp_path, targets, {"fiber_type": "APOGEE"}).files[0]
    magnitude = fits.getdata(path)["magnitude"]
    assert magnitude[:, 8].tolist() == pytest.approx([16.4 - 1.39] * 4, abs=1e-5)  # Vega
    assert magnitude[0, 1] == pytest.approx(23.9)  # r, AB


def test_extinction_is_put_back_into_magnitudes_for_4most(tmp_path):
    targets = said(CORRECTED)
    with pytest.raises(HandoffError, match=r"flux_r_sdss is corrected .* setting `reddening`"):
        exported("4most", tmp_path, targets)
    path = exported("4most", tmp_path, targets, {"reddening": "0.1"}).files[0]
    dust = 0.1 * extinction(6170.0)
    assert Table.read(path)["MAG"][0] == pytest.approx(23.9 + dust, abs=0.003)
    assert 0.2 < dust < 0.25


@pytest.mark.parametrize(
    ("about", "is_corrected"),
    [
        (CORRECTED, True),
        ("dereddened flux in r", True),
        ("extinction-corrected PSF flux", True),
        ("flux, uncorrected for extinction", False),
        ("model flux in r, not corrected for extinction", False),
        ("", False),
    ],
)
def test_fluxes_that_are_corrected_for_extinction_are_said_to_be(about, is_corrected, tmp_path):
    done = exported("mosfire", tmp_path, said(about))
    assert done.corrected == (("flux_r_sdss",) if is_corrected else ())
    assert exported("desi", tmp_path, said(about)).corrected == ()


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "targets", "message"),
    [
        ("4most", {"source_id": ["a" * 257, "b", "c", "d"]}, "expected 1 to 256 letters, digits"),
        ("weave", {"source_id": ["a" * 31, "b", "c", "d"]}, "column TARGID, which has 30 ASCII"),
        ("sdss-v", {"program": ["A" * 61] * 4}, "in the column carton: longer than 60 characters"),
        ("hectospec", {"source_id": ["Größe", "b", "c", "d"]}, "first is 'Größe'; expected printa"),
        ("2df", {"program": ["Größe", "A", "A", "A"]}, "is not ASCII, which is all that '2df'"),
        (
            "desi-tertiary",
            {"program": ["Größe"] * 4, "priority": [5] * 4},
            "TERTIARY_TARGET: expected ASCII",
        ),
        ("desi", {"program": ["A\x1b[31m", "A", "A", "A"]}, r"class 'A\\x1b\[31m'; expected one l"),
        ("desi", {"program": ["A\u202eB", "A", "A", "A"]}, r"class 'A\\u202eB'; expected one line"),
    ],
)
def test_names_that_a_tool_cannot_hold_are_refused(name, targets, message, tmp_path):
    near = {"ra": [150.0] * 4, "dec": [2.2, 2.21, 2.22, 2.23]}
    settings = {
        "weave": {"fill": {}},
        "desi": {"obsconditions": "DARK"},
        "sdss-v": {"cadence": "dark_1x2"},
    }.get(name, {})
    with pytest.raises(HandoffError, match=message) as raised:
        exported(name, tmp_path, target_list(**near, **targets), settings)
    assert str(raised.value).isprintable()
    assert [each.name for each in tmp_path.iterdir()] in ([], ["template.fits"])


@pytest.mark.parametrize("template", ["a" * 300 + ".fits", ".", "nowhere/template.fits"])
def test_setting_that_names_no_file_is_one_line(template, tmp_path):
    with pytest.raises(HandoffError, match=r"'template': .* does not exist or is not a file"):
        exported("weave", tmp_path, changed={"template": template})


def test_setting_of_a_label_that_is_not_ascii_is_refused(tmp_path):
    with pytest.raises(HandoffError, match="'LABEL Größe' is not ASCII"):
        exported("2df", tmp_path, changed=SETTINGS["2df"] | {"label": "Größe"})
