"""A served page in a real browser: several tabs, a killed server, a full disk, hostile data."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from targetsel.inspection.notes import read_notes
from targetsel.tables.parquet import write_table
from tests.inspection.test_inspection_browser import HOSTILE, press, ready, text, until

NOTE = "const n = notes.get(ids[state.at]); return [n.quality, n.issue, n.comment]"


@pytest.fixture
def served(write, tmp_path):
    page = write("bright.targets.parquet", tmp_path / "page", serve=True, port=0)
    with page.served:
        yield page.served


def other_tab(browser, address):
    browser.switch_to.new_window("tab")
    browser.get(address)
    return ready(browser)


def saved(browser):
    return until(lambda: " saved in page.notes.csv" in text(browser, "#said"))


def alarm(browser):
    is_shown = "return !document.getElementById('alarms').hidden"
    return text(browser, "#alarm") if browser.execute_script(is_shown) else ""


def said(browser):
    """What the console of the browser says of errors."""
    return [each["message"] for each in browser.get_log("browser") if each["level"] == "SEVERE"]


def test_a_note_of_one_tab_appears_in_the_other(served, browse):
    browser = ready(browse(served.address))
    one = browser.current_window_handle
    other_tab(browser, served.address)
    press(browser, "3R")
    saved(browser)
    browser.switch_to.window(one)
    until(lambda: browser.execute_script(NOTE) == [3, "R", ""])
    press(browser, "cfine\ue00c")
    saved(browser)
    assert [(each.quality, each.comment) for each in read_notes(served.notes)] == [(3, "fine")]
    assert "page.notes.csv" in text(browser, "#kept")
    assert browser.execute_script("return localStorage.length") == 0  # nothing waits
    assert [each for each in said(browser) if "favicon" not in each] == []


def test_of_conflicting_notes_the_newer_is_shown_and_the_other_can_be_put_back(served, browse):
    browser = ready(browse(served.address))
    one = browser.current_window_handle
    browser.execute_script("notes.look = async () => {}")  # it has not heard of the other yet
    other_tab(browser, served.address)
    press(browser, "4")
    saved(browser)
    browser.switch_to.window(one)
    press(browser, "1")
    found = until(lambda: alarm(browser))
    assert "shown now (quality 4)" in found
    assert "Yours was not saved: quality 1" in found
    assert browser.execute_script(NOTE)[0] == 4
    assert [each.quality for each in read_notes(served.notes)] == [4]
    press(browser, "u")
    until(lambda: [each.quality for each in read_notes(served.notes)] == [1])
    assert "Yours was not saved" in alarm(browser)  # until it is closed
    browser.find_element("id", "close").click()
    assert alarm(browser) == ""


def test_what_another_tab_wrote_into_a_field_meanwhile_is_not_written_over(served, browse):
    browser = ready(browse(served.address))
    one = browser.current_window_handle
    press(browser, "cours")
    other_tab(browser, served.address)
    press(browser, "ctheirs\ue00c")
    saved(browser)
    browser.switch_to.window(one)
    until(lambda: browser.execute_script(NOTE)[2] == "theirs")
    press(browser, " too\ue00c")
    assert "Yours was not saved: comment 'ours too'" in until(lambda: alarm(browser))
    field = "return document.getElementById('comment').value"
    assert browser.execute_script(field) == "theirs"
    press(browser, "u")
    until(lambda: [each.comment for each in read_notes(served.notes)] == ["ours too"])


def begin(sky, output, ensemble, port):
    """The command in a process of its own, and the address that it prints."""
    command = (
        *(sys.executable, "-u", "-m", "targetsel", "inspect", sky / "bright.targets.parquet"),
        *("--scored", sky / "catalog.scored.parquet", "--ensemble", ensemble, "-o", output),
        *("--serve", "--port", str(port)),
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/\S+", line):
            return process, found[0], int(found[1])
    raise AssertionError("the command printed no address")


def test_a_killed_server_that_is_started_again_has_all_notes_that_were_called_saved(
    sky, ensemble_folder, tmp_path, browse
):
    notes = tmp_path / "page.notes.csv"
    process, address, port = begin(sky, tmp_path / "page", ensemble_folder, 0)
    try:
        browser = ready(browse(address))
        press(browser, "4")
        saved(browser)
        process.kill()
        process.communicate()
        assert [each.quality for each in read_notes(notes)] == [4]
        press(browser, "jj2cwaits\ue00c")
        assert "Not saved: the server does not answer. 1 note waits" in until(
            lambda: alarm(browser)
        )
        process, again, _ = begin(sky, tmp_path / "page", ensemble_folder, port)
        assert again == address  # so that open tabs go on by themselves
        saved(browser)
        until(lambda: not alarm(browser))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "Notes on 2 sources by 1 person: " in process.stdout.read()
    finally:
        process.kill()
        process.communicate()
    assert [(each.quality, each.comment) for each in read_notes(notes)] == [(4, ""), (2, "waits")]
    assert sorted(each.name for each in tmp_path.glob("page*")) == ["page", "page.notes.csv"]


def test_of_a_full_disk_the_page_says_that_a_note_is_not_saved_until_it_is(
    served, browse, monkeypatch
):
    browser = ready(browse(served.address))
    with monkeypatch.context() as patch:

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "pwrite", full)
        press(browser, "3")
        found = until(lambda: alarm(browser))
        assert "Not saved: page.notes.csv could not be written (No space left on device)" in found
        assert "1 note waits in this browser" in found
        assert " saved in" not in text(browser, "#said")
        assert browser.find_element("id", "alarm").get_attribute("role") == "alert"
        browser.get("about:blank")
        browser.get(served.address)
        ready(browser)
        assert browser.execute_script(NOTE)[0] == 3
        assert "No space left" in until(lambda: alarm(browser))
        assert not served.notes.exists()
    saved(browser)
    until(lambda: not alarm(browser))
    assert [each.quality for each in read_notes(served.notes)] == [3]
    assert browser.execute_script("return localStorage.length") == 0


def test_a_note_that_is_refused_is_told_and_keeps_no_other_from_being_saved(served, browse):
    browser = ready(browse(served.address))
    browser.execute_script(
        "notes.set(ids[0], {comment: 'x'.repeat(10001)}); notes.set(ids[1], {quality: 2})"
    )
    assert "the comment is longer than 10,000 characters. 1 note waits" in until(
        lambda: alarm(browser)
    )
    saved(browser)
    assert [each.quality for each in read_notes(served.notes)] == [2]
    browser.execute_script("notes.set(ids[0], {comment: 'short'})")
    until(lambda: not alarm(browser))
    assert len(read_notes(served.notes)) == 2


def test_hostile_ids_and_comments_of_a_served_page_stay_text(write, sky, browse, tmp_path):
    table = pq.read_table(sky / "catalog.scored.parquet").slice(0, 3)
    at = table.schema.get_field_index("source_id")
    ids = [HOSTILE, "=1+1", "__proto__"]
    path = sky / "served.scored.parquet"
    footer = json.loads(table.schema.metadata[b"targetsel"])
    write_table(table.set_column(at, "source_id", [ids]), path, footer)
    page = write(path.name, tmp_path / "page", cutouts=None, scored=path, serve=True, port=0)
    with page.served:
        browser = ready(browse(page.served.address))
        for k, _ in enumerate(ids):
            browser.execute_script(
                "notes.set(ids[arguments[0]], {quality: arguments[0], comment: arguments[1]})",
                *(k, f"{HOSTILE}\u2028"),
            )
        until(lambda: len(read_notes(page.served.notes)) == len(ids))
        browser.execute_script("notes.lost(ids[0], notes.get(ids[0]), notes.get(ids[1]))")
        assert HOSTILE in alarm(browser)
        browser.refresh()
        ready(browser)
        assert browser.title == "Inspect served.scored.parquet"
        assert browser.find_elements("css selector", "img[src=x]") == []
        read = "return ids.map(id => [id, notes.get(id).quality, notes.get(id).comment])"
        assert browser.execute_script(read) == [[x, k, HOSTILE] for k, x in enumerate(ids)]
    assert [each.source_id for each in read_notes(page.served.notes)] == ids
    assert {each.comment for each in read_notes(page.served.notes)} == {HOSTILE}
