"""The page in a real browser: keys, notes and hostile data."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from targetsel.tables.parquet import write_table

HOSTILE = '</script><img src=x onerror="document.title=1">{{scripts}}'


def until(told, seconds=20):
    """Wait until this is so; the last answer."""
    end = time.monotonic() + seconds
    while not (found := told()) and time.monotonic() < end:
        time.sleep(0.05)
    assert found
    return found


def press(browser, keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(keys).perform()


def text(browser, selector):
    return browser.execute_script(
        "return document.querySelector(arguments[0]).textContent", selector
    )


def ready(browser):
    until(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
    until(lambda: browser.execute_script("return target !== null"))
    return browser


def saved(browser):
    return until(lambda: "saved" in text(browser, "#said"))


def test_a_page_opens_from_disk_without_errors_and_shows_a_target(page, browse):
    browser = ready(browse(page.path))
    assert text(browser, "#name").startswith("Source ")
    assert browser.execute_script("return document.querySelectorAll('.plot canvas').length") == 1
    picture = "const i = document.querySelector('.view img'); return i.complete && i.naturalWidth"
    assert until(lambda: browser.execute_script(picture)) == 64
    assert "✓" in text(browser, "#why") or "✗" in text(browser, "#why")
    assert [each for each in browser.get_log("browser") if each["level"] == "SEVERE"] == []


def test_keys_step_judge_and_undo(page, browse):
    browser = ready(browse(page.path))
    first = text(browser, "#name")
    press(browser, "3Rs")
    note = "const n = notes.get(ids[state.at]); return [n.quality, n.issue]"
    assert browser.execute_script(note) == [3, "RS"]
    press(browser, "u")
    assert browser.execute_script(note) == [3, "R"]
    press(browser, "j")
    assert text(browser, "#name") != first
    assert browser.execute_script(note) == [None, ""]
    press(browser, "k")
    assert text(browser, "#name") == first
    press(browser, "cj3 looks fine")  # letters in a field are no keys
    assert text(browser, "#name") == first
    press(browser, "\ue00c")  # Escape
    assert browser.execute_script("return notes.get(ids[state.at]).comment") == "j3 looks fine"


def test_notes_outlive_a_kill_of_the_browser(page, browse):
    browser = ready(browse(page.path))
    press(browser, "4C")
    saved(browser)
    for process in processes(browser.service.process.pid):
        os.kill(process, signal.SIGKILL)
    again = ready(browse(page.path))
    assert again.execute_script("const n = notes.get(ids[0]); return [n.quality, n.issue]") == [
        4,
        "C",
    ]


def processes(parent):
    """The children of a process, and theirs."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            child = int(stat.parent.name)
            found += [child, *processes(child)]
    return found


def test_exported_notes_are_the_columns_of_prospect_and_ours(page, browse, tmp_path):
    browser = ready(browse(page.path))
    browser.execute_script("remember('Vera')")
    until(lambda: "Vera" in text(browser, "#said"))
    press(browser, "2S")
    browser.execute_script("notes.set(ids[0], {comment: arguments[0]})", 'a "b", c\nd')
    written = browser.execute_script("return notes.csv(about, false)")
    row = next(csv.DictReader(io.StringIO(written, newline="")))
    assert [row[name] for name in ("VI_quality", "VI_issue", "VI_scanner")] == ["2", "S", "Vera"]
    assert row["VI_comment"] == 'a "b", c\nd'
    assert row["source_id"] == text(browser, "#name").removeprefix("Source ")
    loaded = "return notes.load(arguments[0], each => each)"
    browser.execute_script("notes.notes = new Map()")
    assert browser.execute_script(loaded, written) == 1
    assert browser.execute_script("return notes.get(ids[0]).comment") == 'a "b", c\nd'
    saved(browser)
    browser.find_element("id", "export").click()
    found = until(lambda: list((tmp_path / "downloads").glob("*.csv")))
    assert found[0].read_bytes().decode() == written


def test_notes_for_prospect_are_as_it_writes_them(page, browse):
    browser = ready(browse(page.path))
    browser.execute_script("remember('Véra')")
    until(lambda: "Véra" in text(browser, "#said"))
    press(browser, "3R")
    browser.execute_script("notes.set(ids[0], {z: '0.03', comment: arguments[0]})", 'Hα, "wide"\n☃')
    saved(browser)
    found = text(browser, "#name").removeprefix("Source ")
    assert browser.execute_script("return notes.csv(about, true)") == (
        "TARGETID,EXPID,NIGHT,TILEID,Spec_version,Redrock_version,Template_version,"
        "Redrock_spectype,Redrock_z,Redrock_deltachi2,VI_scanner,VI_quality,VI_issue,VI_z,"
        "VI_spectype,VI_comment\n"
        f'{found},-1,-1,-1,-1,-1,-1,,-1,-1,V?ra,3,R,0.03,,"Halpha; ""wide"" ?"\n'
    )


def test_alike_sources_stand_beside_a_target_where_there_are_labelled_ones(
    page, write, sky, browse, tmp_path
):
    assert not ready(browse(page.path)).find_element("id", "alike_part").is_displayed()
    scored = sky / "catalog.scored.parquet"
    columns = ["source_id", "ra", "dec", "ew_halpha"]
    true = pq.read_table(scored, columns=columns).replace_schema_metadata(None)
    pq.write_table(true, tmp_path / "true.parquet")
    like = (scored, tmp_path / "true.parquet")
    other = write("catalog.scored.parquet", tmp_path / "page", like=like)
    browser = ready(browse(other.path, "other"))
    cells = "return document.querySelectorAll('#alike thead th').length"
    assert until(lambda: browser.execute_script(cells)) == 5
    assert "(this target)" in text(browser, "#alike thead")
    loaded = "return [...document.querySelectorAll('#alike img')].map(each => each.naturalWidth)"
    assert until(lambda: browser.execute_script(loaded)) == [48] * 3
    assert [each for each in browser.get_log("browser") if each["level"] == "SEVERE"] == []


def test_filters_and_sorting_take_any_column(page, browse):
    browser = ready(browse(page.path))
    browser.execute_script(
        "state.filters.push({name: 'rmag', operator: '<', value: 17});"
        "state.sort = 'rmag'; refresh()"
    )
    shown = browser.execute_script("return state.shown.map(row => list.byName.rmag.values[row])")
    every = browser.execute_script("return list.byName.rmag.values")
    assert shown == sorted(each for each in every if each is not None and each < 17)


def test_dragging_over_a_chart_filters_the_list(page, browse):
    from selenium.webdriver.common.action_chains import ActionChains

    browser = ready(browse(page.path))
    browser.execute_script("document.getElementById('charts').open = true")
    until(lambda: browser.execute_script("return charts !== null"))
    canvas = browser.find_elements("css selector", ".chart canvas")[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    ActionChains(browser).move_to_element_with_offset(
        canvas, -90, -50
    ).click_and_hold().move_by_offset(150, 90).release().perform()
    filters = browser.execute_script("return state.filters.map(each => each.name)")
    assert filters == ["ra", "dec"]


def test_hostile_ids_and_comments_stay_text(write, sky, browse, tmp_path):
    table = pq.read_table(sky / "catalog.scored.parquet").slice(0, 3)
    at = table.schema.get_field_index("source_id")
    ids = [HOSTILE, "=1+1", "__proto__"]
    footer = json.loads(table.schema.metadata[b"targetsel"])
    write_table(table.set_column(at, "source_id", [ids]), sky / "hostile.scored.parquet", footer)
    page = write(
        "hostile.scored.parquet",
        tmp_path / "page",
        cutouts=None,
        scored=sky / "hostile.scored.parquet",
    )
    browser = ready(browse(page.path))
    assert text(browser, "#name") == f"Source {HOSTILE}"
    browser.execute_script("notes.set(ids[0], {comment: arguments[0]})", HOSTILE)
    saved(browser)
    browser.execute_script("drawRows(); drawNote()")
    assert browser.title == "Inspect hostile.scored.parquet"
    assert browser.find_elements("css selector", "img[src=x]") == []


@pytest.mark.parametrize("size", ["390,800", "1366,900"])
def test_nothing_is_wider_than_the_window(page, browse, size):
    browser = ready(browse(page.path, size=size))
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) <= 0


def test_a_dark_page_is_printed_in_colours_for_paper(page, browse):
    browser = ready(browse(page.path))
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    colours = "return [colour('--back'), plot.plot.axes[0].stroke()]"
    until(lambda: browser.execute_script(colours) == ["#14171a", "#ececec"])
    browser.execute_script("window.inPrint = []; addEventListener('beforeprint', () => {"
        "inPrint.push(colour('--back'), plot.plot.axes[0].stroke()); });")  # fmt: skip
    browser.execute_cdp_cmd("Page.printToPDF", {})
    assert browser.execute_script("return window.inPrint") == ["#ffffff", "#1a1a1a"]
    until(lambda: browser.execute_script(colours) == ["#14171a", "#ececec"])


def test_every_field_and_button_has_a_name(page, browse):
    browser = ready(browse(page.path))
    fields = browser.find_elements(
        "css selector", "main input, main select, main button, header input, header button"
    )
    assert len(fields) > 30
    assert [
        each.get_attribute("outerHTML")
        for each in fields
        if not each.accessible_name and each.is_displayed()
    ] == []
