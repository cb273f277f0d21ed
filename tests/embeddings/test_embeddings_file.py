"""Files of embeddings: in which forms they may come, and what is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from targetsel.embeddings.file import Embeddings
from targetsel.errors import CatalogError
from tests.embeddings.toy_vectors import write_vectors

IDS = np.arange(10, 16)
VALUES = np.random.default_rng(0).normal(size=(6, 4))


def read(path: object) -> np.ndarray:
    return Embeddings.open(path).read(IDS[::-1]).values[::-1]


@pytest.mark.parametrize(
    ("kind", "exact"),
    [
        (pa.list_(pa.float64()), 0),
        (pa.list_(pa.float32(), 4), 1e-6),
        (pa.large_list(pa.float32()), 1e-6),
        (pa.list_(pa.float16(), 4), 1e-2),
        (pa.fixed_shape_tensor(pa.float32(), (4,)), 1e-6),
    ],
    ids=str,
)
def test_lists_of_every_kind_are_vectors(tmp_path, kind, exact):
    if isinstance(kind, pa.BaseExtensionType):
        flat = pa.array(VALUES.astype(np.float32).ravel())
        storage = pa.FixedSizeListArray.from_arrays(flat, 4)
        lists = pa.ExtensionArray.from_storage(kind, storage)
    else:
        values = VALUES.astype(kind.value_type.to_pandas_dtype())
        lists = pa.array([list(each) for each in values], kind)
    pq.write_table(pa.table({"id": IDS, "embedding": lists}), tmp_path / "e.parquet")
    np.testing.assert_allclose(read(tmp_path / "e.parquet"), VALUES, atol=exact)


@pytest.mark.parametrize("name", ["e.fits", "e.ecsv", "e.vot"])
def test_formats_of_astropy_hold_vectors(tmp_path, name):
    kinds = {"e.vot": {"format": "votable"}}
    table = Table(
        {"source_id": IDS, "embedding": VALUES.astype(">f8" if ".fits" in name else "f8")}
    )
    table.write(tmp_path / name, **kinds.get(name, {}))
    np.testing.assert_array_equal(read(tmp_path / name), VALUES)


@pytest.mark.parametrize("name", ["e.parquet", "e.csv", "e.fits"])
def test_columns_of_one_number_each_are_vectors_in_the_order_of_their_numbers(tmp_path, name):
    values = np.random.default_rng(1).normal(size=(6, 12))
    values[1, 3], values[2] = np.nan, np.nan
    columns = {f"feat_{k}": values[:, k] for k in sorted(range(12), key=str)}
    table = pa.table({"id_str": [1] * 6, "id": IDS, "ra": IDS * 1.0, **columns})
    if name == "e.parquet":
        pq.write_table(table, tmp_path / name)
    else:
        table.to_pandas().pipe(Table.from_pandas).write(tmp_path / name)
    found = Embeddings.open(tmp_path / name)
    assert (found.column, found.length) == ("feat", 12)
    vectors = found.read(IDS)
    np.testing.assert_array_equal(vectors.values, values)
    nan = "embedding with NaN or infinity"
    assert vectors.status.tolist() == ["ok", nan, "no embedding", "ok", "ok", "ok"]
    assert Embeddings.open(tmp_path / name, "feat").sha256 == found.sha256


@pytest.mark.parametrize("numbers", [range(2), range(2, 14), [*range(6), 8, 9, 10]])
def test_columns_that_are_not_numbered_throughout_are_no_vector(tmp_path, numbers):
    columns = {f"mag_{k}": VALUES[:, 0] for k in numbers}
    pq.write_table(pa.table({"id": IDS, **columns}), tmp_path / "e.parquet")
    with pytest.raises(CatalogError, match=r"or a column for each number, such as feat_0, feat_1"):
        Embeddings.open(tmp_path / "e.parquet")


@pytest.mark.parametrize("name", ["v.npy", "v.npz", "v.h5", "v.hdf5", "v.safetensors", "v.pt"])
def test_files_of_arrays_are_told_how_to_become_a_table(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CatalogError, match=r"is a file of arrays.*to_parquet\('vectors.parquet'\)"):
        Embeddings.open(tmp_path / name)


def test_a_folder_of_files_and_a_table_in_memory_are_read_alike(tmp_path):
    (tmp_path / "many").mkdir()
    for part in range(2):
        rows = slice(3 * part, 3 * part + 3)
        write_vectors(tmp_path / "many" / f"{part}.parquet", IDS[rows], VALUES[rows])
    whole = write_vectors(tmp_path / "e.parquet", IDS, VALUES)
    np.testing.assert_array_equal(read(tmp_path / "many"), VALUES)
    np.testing.assert_array_equal(read(pq.read_table(whole)), VALUES)
    assert Embeddings.open(tmp_path / "many").sha256 == Embeddings.open(whole).sha256


def test_missing_vectors_and_numbers_are_told_by_source(tmp_path):
    values = [None, [], *VALUES[2:].tolist()]
    values[3][1], values[4][0] = np.inf, None
    path = write_vectors(tmp_path / "e.parquet", IDS, values)
    found = Embeddings.open(path).read(np.append(IDS, 99))
    expected = ["no embedding", "no embedding", "ok", "embedding with NaN or infinity"]
    assert found.status.tolist() == [*expected, expected[3], "ok", "no embedding"]


def test_ids_that_are_text_on_one_side_are_found(tmp_path):
    path = write_vectors(tmp_path / "e.parquet", IDS.astype(str), VALUES)
    np.testing.assert_array_equal(read(path), VALUES)


def test_a_source_that_is_there_twice_with_one_vector_counts_once(tmp_path):
    twice = write_vectors(
        tmp_path / "e.parquet", np.append(IDS, 10), np.vstack([VALUES, VALUES[:1]])
    )
    once = write_vectors(tmp_path / "once.parquet", IDS, VALUES)
    assert len(Embeddings.open(twice)) == 6
    assert Embeddings.open(twice).sha256 == Embeddings.open(once).sha256


def test_two_different_vectors_of_a_source_are_refused(tmp_path):
    path = write_vectors(
        tmp_path / "e.parquet", np.append(IDS, 10), np.vstack([VALUES, VALUES[1:2]])
    )
    with pytest.raises(CatalogError, match="'10' has two different vectors"):
        Embeddings.open(path)


def refused(table: pa.Table, tmp_path, column: str | None = None) -> str:
    pq.write_table(table, tmp_path / "e.parquet")
    with pytest.raises(CatalogError) as caught:
        Embeddings.open(tmp_path / "e.parquet", column)
    return str(caught.value)


def test_a_table_that_has_no_such_column_names_those_with_vectors(tmp_path):
    lists = pa.array(VALUES.tolist())
    two = pa.table({"source_id": IDS, "aion": lists, "astropt": lists, "z": VALUES[:, 0]})
    assert "several columns of vectors: aion, astropt" in refused(two, tmp_path)
    assert "no column 'aoin'. Did you mean 'aion'?" in refused(two, tmp_path, "aoin")
    assert "holds numbers; expected lists of numbers" in refused(two, tmp_path, "z")
    assert Embeddings.open(tmp_path / "e.parquet", "astropt").column == "astropt"
    none = two.select(["source_id", "z"])
    assert "no column of vectors among z" in refused(none, tmp_path)
    assert "no column of vectors among its columns" in refused(two.select(["source_id"]), tmp_path)


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ([[1.0, 2.0], [1.0, 2.0, 3.0], *[[1.0, 2.0]] * 4], "lists of 2 and of 3 numbers"),
        ([["a", "b"]] * 6, "no column of vectors"),
        ([[[1.0, 2.0]]] * 6, "no column of vectors"),
        ([[1.0]] * 6, "holds lists of 1 number;"),
        (pa.array([None] * 6, pa.list_(pa.float32())), "holds no vector in any row"),
        (["[1.0, 2.0]"] * 6, "no column of vectors"),
    ],
    ids=["ragged", "text", "nested", "one number", "nulls", "text that looks like lists"],
)
def test_what_is_no_vector_is_refused_in_a_line(tmp_path, lists, words):
    message = refused(pa.table({"source_id": IDS, "embedding": lists}), tmp_path)
    assert words in message.replace(" numbers and of ", " and of ")
    assert message.count(". ") == 1  # what was expected, and the next step
    assert message.endswith(".")


def test_a_table_without_vectors_says_what_its_columns_hold(tmp_path):
    held = {"id": IDS, "cube": [[[1.0]]] * 6, "words": list("abcdef")}
    said = refused(pa.table(held), tmp_path)
    assert "among cube (lists of lists of numbers), words (text);" in said
    many = {f"v{k}": [[1.0, 2.0]] * 6 for k in range(15)}
    assert "v10, v11 and 3 more. Name the one" in refused(pa.table({"id": IDS, **many}), tmp_path)


def test_tables_without_ids_or_rows_are_refused(tmp_path):
    lists = pa.array(VALUES.tolist())
    assert "no column" in refused(pa.table({"name": list("abcdef"), "embedding": lists}), tmp_path)
    ids = pa.array([1, 2, None, 4, 5, 6])
    assert "no id in 1 row" in refused(pa.table({"id": ids, "embedding": lists}), tmp_path)
    assert "has no rows" in refused(pa.table({"id": IDS, "embedding": lists}).slice(0, 0), tmp_path)


def test_the_model_that_a_file_states_is_known(tmp_path):
    path = write_vectors(tmp_path / "e.parquet", IDS, VALUES, Model="AION-B")
    assert Embeddings.open(path).model == "AION-B"
    assert "of AION-B: 6 vectors of 4 numbers" in repr(Embeddings.open(path))
