"""JWST NIRSpec: the catalog in jwst-vmpt, an independent planner for the micro-shutter assembly.

jwst-vmpt 1.8.0 is installed without its dependencies (`pip install --no-deps jwst-vmpt==1.8.0`).
Of the heavy ones only pysiaf is imported by its planner, for three numbers: where the aperture
NRS_FULL_MSA lies in the telescope's frame. They are written here.
"""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from targetsel.errors import HandoffError
from targetsel.handoff import nirspec
from targetsel.handoff.export import check
from tests.handoff.lists_by_hand import target_list
from tests.handoff.tools_by_hand import exported

# NIRSpec_SIAF.xml of pysiaf 0.29.0, PRDOPSSOC-075: V2Ref, V3Ref [arcsec], V3IdlYAngle [deg]
FULL_MSA = SimpleNamespace(V2Ref=378.563202, V3Ref=-428.402832, V3IdlYAngle=138.5745697)
CENTER = (150.0, 2.2)


@pytest.fixture
def vmpt(monkeypatch):
    pytest.importorskip("vmpt", reason="pip install --no-deps jwst-vmpt==1.8.0")
    pysiaf = ModuleType("pysiaf")
    pysiaf.Siaf = lambda instrument: {"NRS_FULL_MSA": FULL_MSA}
    monkeypatch.setitem(sys.modules, "pysiaf", pysiaf)
    from vmpt import catalog, optimizer

    return SimpleNamespace(load_catalog=catalog.load_catalog, optimizer=optimizer)


def crowd(strong_first: bool):
    """300 targets within 2 arcmin of the center, every other one of priority 100, the rest of 1."""
    n = 300
    rng = np.random.default_rng(8)
    ra = CENTER[0] + rng.uniform(-120, 120, n) / 3600
    dec = CENTER[1] + rng.uniform(-120, 120, n) / 3600
    strong = (np.arange(n) % 2 == 0) == strong_first
    return target_list(n, ra=ra, dec=dec, priority=np.where(strong, 100, 1)), strong


def planned(vmpt, path):
    """The ids of the sources that vMPT's best pointing observes without spectra that overlap."""
    catalog = vmpt.load_catalog(str(path))
    everyone = np.ones(len(catalog.ids), bool)
    evaluator = vmpt.optimizer.PointingEvaluator(
        catalog.ra_deg,
        catalog.dec_deg,
        operable=np.ones((4, 171, 365), bool),
        protect_mask=everyone,
        weights=catalog.weight,
        disperser="G395M",
        filt="F290LP",
    )
    best = vmpt.optimizer.grid_search(
        evaluator, *CENTER, 0.0, dra_arcsec=20, ddec_arcsec=20, dpa_deg=0, n_ra=9, n_dec=9,
        weights=catalog.weight,
    )  # fmt: skip
    observed, _, _ = evaluator.evaluate(best["ra"][0], best["dec"][0], best["pa"][0])
    return catalog.ids[observed]


@pytest.mark.parametrize("strong_first", [True, False])
def test_vmpt_plans_an_exported_list_and_prefers_high_priorities(vmpt, strong_first, tmp_path):
    targets, strong = crowd(strong_first)
    ids = planned(vmpt, exported("nirspec", tmp_path, targets).files[0])
    assert len(ids) > 50
    assert strong[ids - 1].mean() > 0.6  # by chance half


def test_vmpt_reads_ids_positions_weights_and_magnitudes(vmpt, tmp_path):
    catalog = vmpt.load_catalog(str(exported("nirspec", tmp_path).files[0]))
    assert catalog.ids.tolist() == [1, 2, 3, 4]
    assert catalog.weight.tolist() == [3400, 3200, 3400, 3200]
    assert catalog.mag.tolist() == [23.9, 23.147, 22.707, 22.395]
    assert np.allclose(catalog.ra_deg[[0, 3]], [150.0, 149.9791666666], atol=1e-9)


def test_ending_that_vmpt_takes_for_another_format_is_told_with_what_helps(vmpt, tmp_path):
    done = exported("nirspec", tmp_path / "list.csv")
    with pytest.raises(HandoffError, match=r"list\.csv: not a catalog .* name the file \.cat\."):
        check(done.targets, done.files[0])


def test_catalog_is_read_by_astropy_where_vmpt_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vmpt", None)
    monkeypatch.setitem(sys.modules, "vmpt.catalog", None)
    back = nirspec.read(exported("nirspec", tmp_path).files[0])
    assert back.reader.startswith("astropy")
    assert back.id.tolist() == [1, 2, 3, 4]
    assert back.priority.tolist() == [3400, 3200, 3400, 3200]


def test_list_without_fluxes_has_no_magnitudes(tmp_path):
    targets = target_list(ra=[150.0] * 4, dec=[2.2] * 4, flux_g_sdss=None, flux_r_sdss=None)
    text = exported("nirspec", tmp_path, targets).files[0].read_text()
    assert text.startswith("# ID RA DEC Weight\n1 150.000000000 2.200000000 3400\n")


def test_list_wider_than_a_degree_is_refused(tmp_path):
    targets = target_list(ra=[359.9, 0.0, 0.1, 0.0], dec=[0.0, 0.0, 0.0, 2.8])
    with pytest.raises(HandoffError, match=r"reach 2\.10 deg from their center"):
        exported("nirspec", tmp_path, targets)
