"""The page of a night's plan."""

from __future__ import annotations

import re
from base64 import b64decode

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import OutputError
from targetsel.nights.plan import plan_night
from targetsel.nights.visibility import Visibility
from targetsel.report.night_page import write_night_page
from targetsel.report.night_plan import HEADINGS, PlannedExposures

ASKED = Visibility.of("KPNO", "2027-03-14", airmass=1.8)
HOSTILE = '<script>alert("$x$")</script> \x1b[31m$\\frac'


def sky(n: int = 12) -> pa.Table:
    draw = np.random.default_rng(5)
    return pa.table({
        "target_id": [HOSTILE, *(f"T{k}" for k in range(1, n))],
        "ra": draw.uniform(90, 250, n),
        "dec": draw.uniform(10, 50, n),
        "program": [HOSTILE] * n,
        "probability": draw.uniform(0.5, 1, n),
    })  # fmt: skip


@pytest.fixture(scope="module")
def plan():
    return plan_night(sky(), ASKED, "20 min")


def page_of(plan, folder, suffix="html"):
    path = folder / f"plan.{suffix}"
    write_night_page(plan, ASKED, path)
    return path.read_bytes()


def test_the_page_has_every_exposure_in_its_order_and_when_it_is_dark(plan, tmp_path):
    text = page_of(plan, tmp_path).decode()
    rows = re.findall(r"<tr><td>(\d+)</td>.*</tr>", text)
    assert rows == [str(k + 1) for k in range(len(plan.planned))]
    begins = [str(each)[5:19].replace("T", " ") for each in plan.planned["plan_start"]]
    assert re.findall(r"<td>(\d\d-\d\d \d\d:\d\d:\d\d)</td><td>\d\d-", text) == begins
    assert "Night of 2027-03-14 at KPNO" in text
    assert "Sun below -18°, astronomical" in text
    assert "2027-03-15 02:55 to 2027-03-15 12:16" in text
    assert text.count("data:image/svg+xml;base64,") == 1


def test_hostile_names_stay_text_on_the_page(plan, tmp_path):
    text = page_of(plan, tmp_path).decode()
    assert "<script" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;alert(&quot;$x$&quot;)&lt;/script&gt;" in text
    assert page_of(plan, tmp_path, "pdf").startswith(b"%PDF")


def test_the_page_asks_nothing_of_the_network(plan, tmp_path):
    text = page_of(plan, tmp_path).decode()
    images = [b64decode(each).decode() for each in re.findall(r"svg\+xml;base64,([^\"]+)", text)]
    for each in (text, *images):
        links = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", each)
        assert not [link for link in links if not link.startswith(("data:", "#"))]


@pytest.mark.parametrize("suffix", ["html", "pdf"])
def test_a_plan_has_the_same_page_whatever_the_order_of_the_list(suffix, plan, tmp_path):
    shuffled = sky().take(np.random.default_rng(1).permutation(12))
    again = plan_night(shuffled, ASKED, "20 min")
    assert page_of(again, tmp_path, suffix) == page_of(plan, tmp_path, suffix)


def test_what_is_listed_is_what_the_plan_says(plan):
    shown = PlannedExposures.of(plan, ASKED)
    rows = [dict(zip(HEADINGS, each, strict=True)) for each in shown.rows]
    assert [each["airmass"] for each in rows] == [
        f"{each:.2f}" for each in plan.planned["plan_airmass"]
    ]
    assert {each["exposure"] for each in rows} == {"20 min"}
    assert shown.end - shown.start == pytest.approx(1 / 3, abs=1e-6)
    paths = shown.paths
    middle = (shown.start + shown.end) / 2
    sine = paths.base + paths.swing * np.cos(paths.rate * (middle - paths.transit))
    assert 1 / sine == pytest.approx(plan.planned["plan_airmass"], abs=1e-4)


def test_exposures_are_in_minutes_to_a_tenth_and_short_ones_in_seconds():
    table = sky(4).append_column("t", pa.array([90.0, 606.0, 1200.0, 4321.0]))
    rows = PlannedExposures.of(plan_night(table, ASKED, "t"), ASKED).rows
    assert sorted(each[HEADINGS.index("exposure")] for each in rows) == [
        *("10.1 min", "20 min", "72 min", "90 s")
    ]


def test_a_night_without_targets_has_a_page_too(tmp_path):
    nothing = plan_night(sky().slice(0, 0), ASKED, "20 min")
    assert "No target is planned." in page_of(nothing, tmp_path).decode()
    assert page_of(nothing, tmp_path, "pdf").startswith(b"%PDF")


def test_a_list_that_is_longer_than_a_page_goes_on_on_the_next(tmp_path):
    many = plan_night(sky(60), ASKED, "1 min", overhead="1 min")
    assert len(many.planned) == 60
    assert page_of(many, tmp_path, "pdf").count(b"/Type /Page ") == 2


def test_a_polar_night_is_dark_from_noon_to_noon(tmp_path):
    asked = Visibility.of("lat=89 lon=0", "2026-12-21")
    plan = plan_night(sky(), asked, "20 min")
    write_night_page(plan, asked, tmp_path / "plan.html")
    assert "from noon to noon" in (tmp_path / "plan.html").read_text()


def test_another_ending_is_refused(plan, tmp_path):
    with pytest.raises(OutputError, match=r"expected a name that ends in \.html or \.pdf"):
        write_night_page(plan, ASKED, tmp_path / "plan.png")
