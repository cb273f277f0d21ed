"""The engine alone, with numbers for questions and no service."""

import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, OutputError
from targetsel.surveys import fetching
from targetsel.surveys.fetching import (
    Fetched,
    FetchFolder,
    Reply,
    bytes_of_table,
    manifest_of,
    table_of_bytes,
)
from targetsel.surveys.http import Answer
from targetsel.tasks import progress


class Service:
    """Squares numbers; fails for some of them."""

    def __init__(self, failing=()):
        self.failing = set(failing)
        self.asked = []

    def __call__(self, some):
        self.asked.append(list(some))
        return [self.answer(each) for each in some]

    def answer(self, number):
        if number in self.failing:
            return Fetched([Reply("busy", None, Answer("http://x"), final=False)])
        return Fetched([Reply("ok", None, Answer("http://x"))], str(number * number).encode())


def opened(tmp_path, **settings):
    return FetchFolder.open(tmp_path / "out", settings, str, CatalogError)


def test_what_came_is_known_to_the_next_run_and_not_asked_again(tmp_path):
    service = Service()
    with opened(tmp_path) as folder:
        assert folder.fetch_missing(lambda: range(5), service) == 0
    with opened(tmp_path) as folder:
        assert folder.fetch_missing(lambda: range(7), service) == 5
        assert [folder.content(number) for number in range(7)] == [
            str(number**2).encode() for number in range(7)
        ]
    assert sorted(itertools.chain(*service.asked)) == list(range(7))


def test_questions_that_failed_before_come_last(tmp_path):
    with opened(tmp_path) as folder:
        folder.fetch_missing(lambda: range(3), Service(failing=[0, 1]))
        assert [folder.is_finished(number) for number in range(3)] == [False, False, True]
        assert folder.statuses(0) == ["busy"]
        again = Service()
        folder.fetch_missing(lambda: range(10), again)
    assert sorted(itertools.chain(*again.asked[-2:])) == [0, 1]


def test_several_questions_go_in_one_request(tmp_path):
    service = Service()
    with opened(tmp_path) as folder:
        folder.fetch_missing(lambda: range(7), service, at_once=3)
    assert sorted(map(len, service.asked)) == [1, 3, 3]


def test_service_that_keeps_failing_is_left_alone_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "FAILURES_IN_A_ROW", 4)
    service = Service(failing=range(1000))
    message = r"^http://x: 4 requests in a row got no good answer, the last one because: busy\."
    with opened(tmp_path) as folder, pytest.raises(CatalogError, match=message):
        folder.fetch_missing(lambda: range(1000), service)
    assert len(service.asked) < 4 + 3 * fetching.WORKERS


def test_progress_counts_what_this_run_asks(tmp_path, slow, capsys):
    with opened(tmp_path) as folder, progress():
        folder.fetch_missing(lambda: range(2), Service())
        capsys.readouterr()
        folder.fetch_missing(lambda: range(5), Service(), what="fetching cutouts")
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("fetching cutouts: 1 of 3 sources, ")
    assert told[-1].startswith("fetching cutouts: 3 of 3 sources in ")


def test_folder_begun_with_other_settings_is_refused(tmp_path):
    with opened(tmp_path, size=24):
        pass
    message = "was begun with size 24; now it is 25"
    with pytest.raises(OutputError, match=message), opened(tmp_path, size=25):
        pass


def test_manifest_has_a_row_for_each_band_of_each_source_that_was_asked(tmp_path):
    class Source(int):
        @property
        def source_id(self):
            return int(self)

    def ask(some):
        return [Fetched([Reply("ok"), Reply("lost" if each else "ok")]) for each in some]

    with opened(tmp_path) as folder:
        folder.fetch_missing(lambda: map(Source, range(2)), ask)
        statuses, unfinished = folder.write_manifest(
            manifest_of(tmp_path / "out"), [map(Source, range(3))], pa.int64(), "gr"
        )
    assert (dict(statuses), unfinished) == ({"ok": 1, "lost": 1}, 0)
    rows = pq.read_table(tmp_path / "out.manifest.parquet").to_pylist()
    assert [(row["source_id"], row["band"], row["status"]) for row in rows] == [
        *((0, "g", "ok"), (0, "r", "ok"), (1, "g", "ok"), (1, "r", "lost")),
    ]


def test_table_keeps_its_metadata_on_the_way_through_bytes():
    table = pa.table({"a": [1, 2]}).replace_schema_metadata({"dropped": "3"})
    again = table_of_bytes(bytes_of_table(table))
    assert again.equals(table)
    assert again.schema.metadata == {b"dropped": b"3"}
