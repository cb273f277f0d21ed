"""Reading .npz and .npy files, whose headers may tell of more than there is."""

import io
import zipfile

import numpy as np
import pytest

from targetsel.errors import CatalogError
from targetsel.tables.numpy_files import names_in_npz, read_npy, read_npz


def npz(path, claims=(3,), kind="<f8", content=b"\0" * 24):
    """An .npz file with one array `a`, whose header claims a shape."""
    header = io.BytesIO()
    header.write(np.lib.format.magic(1, 0))
    about = {"descr": kind, "fortran_order": False, "shape": claims}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header.getvalue()[8:] + content)
    return path


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_arrays_of_every_kind_are_read_as_they_were_written(write, tmp_path):
    arrays = {"x": np.arange(6.0).reshape(2, 3), "id": np.array(["a", "bc"]), "n": np.int64(3)}
    write(tmp_path / "x.npz", **arrays, other=np.zeros(2, object))
    assert names_in_npz(tmp_path / "x.npz") == ["x", "id", "n", "other"]
    for name, array in read_npz(tmp_path / "x.npz", ["x", "id", "n"]).items():
        assert (array.dtype, array.tolist()) == (arrays[name].dtype, arrays[name].tolist())


@pytest.mark.parametrize("claims", [(4,), (2,), (10**12,), (2**40, 2**40), (-1,)])
def test_array_that_tells_of_other_bytes_than_there_are_is_refused(claims, tmp_path):
    with pytest.raises(CatalogError, match=r"a.npy tells of -?\d+ bytes that are not there"):
        read_npz(npz(tmp_path / "x.npz", claims), ["a"])


def test_file_that_holds_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("targetsel.tables.fits.ALWAYS_UNPACKED", 2**20)
    path = npz(tmp_path / "x.npz", (2**20,), "|u1", bytes(2**20))
    assert read_npz(path, ["a"])["a"].size == 2**20
    path = npz(tmp_path / "y.npz", (2**20 + 1,), "|u1", bytes(2**20 + 1))
    with pytest.raises(CatalogError, match="holds over 100 times its size when decompress"):
        read_npz(path, ["a"])


def test_other_files_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    for path in (tmp_path / "x.npz", tmp_path / "none.npz"):
        with pytest.raises(CatalogError, match=r"x.npz: not an \.npz|none.npz: no such file"):
            names_in_npz(path)
        with pytest.raises(CatalogError, match=r"x.npz: not an \.npz|none.npz: no such file"):
            read_npz(path, ["a"])
    np.savez(tmp_path / "y.npz", b=np.zeros(3))
    with pytest.raises(CatalogError, match="without the array 'a'"):
        read_npz(tmp_path / "y.npz", ["a"])
    with pytest.raises(CatalogError, match="it holds several arrays"):
        read_npy(tmp_path / "y.npz", CatalogError, "an array")
