"""Numbers come out of pickles; nothing in a pickle is ever run."""

import contextlib
import io
import os
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from targetsel.errors import EnsembleError
from targetsel.weights.pickles import Record, read_pickle


class Holder:
    """A class that the reader of its pickle does not have."""

    def __init__(self, **values):
        self.__dict__.update(values)


class Calls:
    """A pickle of this asks its reader to call a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def pickled(tmp_path, value, protocol=2):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def refusal(path):
    """The message with which a file is refused."""
    with pytest.raises(EnsembleError) as caught:
        read_pickle(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- what can be read


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_back_in_every_protocol(tmp_path, protocol):
    value = {
        "none": None, "yes": True, "int": -7, "float": 0.25, "text": "é", "bytes": b"\x00\xff",
        "list": [1, [2, 3]], "tuple": (1, 2, 3, 4), "set": {1, 2}, "nested": {"a": ()}, 5: 2**60,
    }  # fmt: skip
    assert read_pickle(pickled(tmp_path, value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        np.array([True, False]),
        np.zeros((0, 4), np.float32),
    ],
    ids=["float64", "big-endian by columns", "bool", "empty"],
)
def test_arrays_come_back_in_every_protocol(tmp_path, protocol, array):
    back = read_pickle(pickled(tmp_path, {"array": array, "scalar": np.float32(1.5)}, protocol))
    np.testing.assert_array_equal(back["array"], array)
    assert back["array"].dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert back["scalar"] == 1.5
    assert type(back["scalar"]) is float


def test_file_of_one_array_is_that_array(tmp_path):
    array = read_pickle(pickled(tmp_path, np.arange(3)))
    np.testing.assert_array_equal(array, [0, 1, 2])


@pytest.mark.parametrize("protocol", range(6))
def test_instance_of_an_unknown_class_becomes_a_record_of_its_state(tmp_path, protocol):
    record = read_pickle(pickled(tmp_path, Holder(size=3, inner=Holder(x=[1])), protocol))
    assert isinstance(record, Record)
    assert record.kind.name == "Holder"
    assert record.attributes["size"] == 3
    assert record.attributes["inner"].attributes == {"x": [1]}


class Slotted:
    """A class whose state is a dictionary and one of slots."""

    __slots__ = ("__dict__", "size")


def test_slots_of_a_record_are_among_its_attributes(tmp_path):
    value = Slotted()
    value.size, value.name = 3, "x"
    record = read_pickle(pickled(tmp_path, value))
    assert record.attributes == {"size": 3, "name": "x"}


def test_records_of_dictionaries_and_lists_keep_what_is_in_them(tmp_path):
    class_of_lists = type("Listed", (list,), {"__module__": __name__})
    class_of_dicts = type("Keyed", (dict,), {"__module__": __name__})
    globals().update(Listed=class_of_lists, Keyed=class_of_dicts)
    record = read_pickle(pickled(tmp_path, [class_of_lists([1, 2]), class_of_dicts(a=3)]))
    assert record[0].items == [1, 2]
    assert record[1].entries == {"a": 3}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip archive", "older format"])
def test_tensors_of_both_torch_formats_come_back(tmp_path, zipped):
    shared = torch.arange(12.0)
    saved = OrderedDict(
        plain=torch.randn(3, 4),
        turned=torch.randn(3, 4).T,
        part=shared[2:8:2],
        same=shared,
        scalar=torch.tensor(3),
        empty=torch.zeros(0, 5),
        half=torch.randn(2).half(),
        brain=torch.randn(4, 3).bfloat16().T,
        parameter=torch.nn.Parameter(torch.randn(2)),
        size=torch.Size([1, 2]),
    )
    path = tmp_path / "tensors.pth"
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    back = read_pickle(path)
    assert list(back) == list(saved)
    assert back.pop("size") == (1, 2)
    saved["brain"] = saved["brain"].float()  # which NumPy has no type for
    for name, array in back.items():
        np.testing.assert_array_equal(array, saved[name].detach().numpy(), err_msg=name)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip archive", "older format"])
def test_whole_module_becomes_records(tmp_path, zipped):
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    path = tmp_path / "module.pth"
    torch.save(module, path, _use_new_zipfile_serialization=zipped)
    record = read_pickle(path)
    assert str(record.kind) == "torch.nn.modules.container.Sequential"
    linear = record.attributes["_modules"]["0"].attributes
    np.testing.assert_array_equal(
        linear["_parameters"]["weight"], module[0].weight.detach().numpy()
    )
    assert linear["in_features"] == 2


# ---------------------------------------------------------------- what is refused, and not run


@pytest.fixture
def marker(tmp_path):
    """A file that any executed attack would leave."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_os_system_is_refused_by_name_and_not_run(tmp_path, marker, protocol):
    path = pickled(tmp_path, Calls(os.system, f"touch {marker}"), protocol)
    assert refusal(path).startswith(f"{path}: refused: asks for {os.system.__module__}.system")


@pytest.mark.parametrize(
    ("function", "name"),
    [(eval, "builtins.eval"), (exec, "builtins.exec"), (getattr, "builtins.getattr"),
     (__import__, "builtins.__import__"), (os.mkdir, "mkdir"), (pickle.loads, "loads")],
)  # fmt: skip
def test_dangerous_functions_are_refused_by_name(tmp_path, function, name):
    assert name in refusal(pickled(tmp_path, Calls(function, "1")))


def test_call_hidden_in_the_arguments_of_an_allowed_one_is_refused(tmp_path, marker):
    inner = Calls(os.system, f"touch {marker}")
    path = pickled(tmp_path, Calls(OrderedDict, [["key", inner]]))
    assert "asks for posix.system" in refusal(path) or "asks for nt.system" in refusal(path)


def test_call_of_a_function_outside_the_standard_library_is_refused(tmp_path, marker):
    path = pickled(tmp_path, Calls(torch.load, str(marker)))
    assert "asks to call torch.serialization.load" in refusal(path)


def test_call_of_what_another_call_gave_is_refused(tmp_path):
    # (getattr(x, "y"))() spelled with records: REDUCE on something that is no name
    path = tmp_path / "nested.pkl"
    path.write_bytes(b"ccollections\nOrderedDict\n)R)R.")
    assert "a call of something that has no name" in refusal(path)


def test_instance_of_a_standard_library_class_is_refused(tmp_path):
    path = tmp_path / "instance.pkl"
    path.write_bytes(b"\x80\x02csubprocess\nPopen\n(X\x05\x00\x00\x00touchl\x85\x81.")
    assert "asks for subprocess.Popen" in refusal(path)
    path.write_bytes(b"(S'touch marker'\nios\nsystem\n.")
    assert "asks for os.system" in refusal(path)


@pytest.mark.parametrize(
    "body", [b"Pmarker\n.", b"X\x01\x00\x00\x00aQ.", b"(lQ.", b"(X\x07\x00\x00\x00storagetQ."]
)
def test_persistent_ids_other_than_storages_are_refused(tmp_path, body):
    path = tmp_path / "id.pkl"
    path.write_bytes(b"\x80\x02" + body)
    assert "persistent id" in refusal(path) or "opcode PERSID" in refusal(path)


def test_storage_id_outside_a_torch_file_is_refused(tmp_path):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Holder):
                return ("storage", torch.FloatStorage, "0", "cpu", 4)
            return None

    path = tmp_path / "id.pkl"
    with open(path, "wb") as stream:
        Pickler(stream, 2).dump([Holder()])
    assert "a persistent id outside a PyTorch file" in refusal(path)


def laughs(levels):
    """Lists of twos in lists of twos: 2^levels values in a few hundred bytes."""
    value = ["ha"]
    for _ in range(levels):
        value = [value, value]
    return value


def test_billion_laughs_are_refused(tmp_path):
    assert "repetitions" in refusal(pickled(tmp_path, laughs(40)))


def test_nested_tuples_as_dictionary_keys_are_refused(tmp_path):
    # hashing them would take 2^40 steps
    body = b"\x80\x02}X\x01\x00\x00\x00a" + b"2\x86" * 40 + b"Ns."
    path = tmp_path / "keys.pkl"
    path.write_bytes(body)
    assert "a dictionary key or set member that is no text or small number" in refusal(path)


def test_deep_nesting_is_refused(tmp_path):
    path = tmp_path / "deep.pkl"
    path.write_bytes(b"\x80\x02" + b"]" * 40_000 + b"a" * 39_999 + b".")
    assert "nested more than 100 deep" in refusal(path)


def test_value_that_holds_itself_is_refused(tmp_path):
    value: list = []
    value.append(value)
    assert "holds itself" in refusal(pickled(tmp_path, value))


def test_too_many_steps_are_refused(tmp_path):
    path = tmp_path / "long.pkl"
    path.write_bytes(b"\x80\x02]" + b"N0" * 5_000_000 + b".")
    assert "more than 100000 steps" in refusal(path)


def test_memo_bomb_of_copied_bytes_is_refused(tmp_path):
    # one megabyte of text encoded to new bytes, 10,000 times
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x00"
    again = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    path = tmp_path / "copies.pkl"
    path.write_bytes(b"\x80\x02](" + text + again * 10_000 + b"e.")
    assert "much larger than the file" in refusal(path)


def test_one_state_given_to_very_many_instances_is_refused(tmp_path):
    # 15,000 entries in each of 3,000 instances: gigabytes out of 120 kilobytes
    state = b"(" + b"".join(b"X\x04\x00\x00\x00%04xN" % k for k in range(15_000)) + b"dq\x000"
    again = b"cm\nC\n)\x81h\x00b"
    path = tmp_path / "states.pkl"
    path.write_bytes(b"\x80\x02" + state + b"(" + again * 3_000 + b"t.")
    assert "more than 1000000 values, most of them repetitions" in refusal(path)


@pytest.mark.parametrize(
    "body",
    [
        b"\x8e" + struct.pack("<Q", 1 << 60) + b"x.",  # BINBYTES8
        b"\x8d" + struct.pack("<Q", 1 << 60) + b"x.",  # BINUNICODE8
        b"\x96" + struct.pack("<Q", 1 << 60) + b"x.",  # BYTEARRAY8
        b"\x8b" + struct.pack("<i", 1 << 30) + b"x.",  # LONG4
        b"L" + b"9" * 1_000_000 + b"L\n.",  # LONG
        b"\x95" + struct.pack("<Q", 1 << 60) + b"N",  # FRAME, and no STOP
    ],
)
def test_opcodes_that_claim_more_than_the_file_holds_are_refused(tmp_path, body):
    path = tmp_path / "huge.pkl"
    path.write_bytes(b"\x80\x04" + body)
    assert str(path) in refusal(path)


def test_integers_of_a_megabyte_are_refused(tmp_path):
    assert "an integer of 8000" in refusal(pickled(tmp_path, 1 << 8_000_000))


def test_array_larger_than_its_bytes_is_refused(tmp_path):
    body = pickle.dumps(np.zeros(3, "u1"), 2).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85")
    path = tmp_path / "array.pkl"
    path.write_bytes(body)
    assert "an array larger than its numbers" in refusal(path)


def test_array_of_objects_is_refused_and_its_content_not_run(tmp_path, marker):
    array = np.empty(1, object)
    array[0] = Calls(os.system, f"touch {marker}")
    assert "asks for" in refusal(pickled(tmp_path, array))
    array[0] = 1
    assert "'O8'" in refusal(pickled(tmp_path, array))


def torch_file(path, body, storages):
    """A torch zip archive with a hand-written pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)


def tensor_body(count, offset, shape, stride):
    """A pickle of one tensor that says this about itself."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", count)
            return None

    stream = io.BytesIO()
    rebuild = torch._utils._rebuild_tensor_v2
    Pickler(stream, 2).dump(Calls(rebuild, Storage(), offset, shape, stride, False, OrderedDict()))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("count", "offset", "shape", "stride"),
    [
        (4, 0, (1 << 40,), (0,)),
        (4, 2, (4,), (1,)),
        (4, -1, (2,), (1,)),
        (4, 0, (2, 2), (4, 1)),
        (1 << 40, 0, (1 << 40,), (1,)),
    ],
    ids=["repeated by a stride of 0", "past the end", "before the start", "stride", "storage"],
)
def test_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path, count, offset, shape, stride):
    path = tmp_path / "tensor.pth"
    torch_file(path, tensor_body(count, offset, shape, stride), {"0": bytes(16)})
    refusal(path)


def test_encrypted_archive_is_called_damaged(tmp_path):
    path = tmp_path / "locked.pth"
    torch_file(path, pickle.dumps(1, 2), {})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x03\x04") + 6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert "is encrypted" in refusal(path)


def test_very_many_views_of_one_storage_are_refused(tmp_path):
    path = tmp_path / "views.pth"
    values = torch.zeros(100_000)
    torch.save([values.view(-1) for _ in range(1_000)], path)
    assert "much larger than the file" in refusal(path)


def test_compressed_archive_is_refused(tmp_path):
    path = tmp_path / "zip-bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100_000_000))
    assert "compressed, which PyTorch never does" in refusal(path)


def test_archive_of_very_many_files_is_refused(tmp_path):
    path = tmp_path / "many.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"archive/data/{number}", b"")
    assert "an archive of more than 10000 files" in refusal(path)


def test_attack_in_a_torch_archive_is_refused(tmp_path, marker):
    path = tmp_path / "attack.pth"
    body = pickle.dumps({"weight": Calls(os.system, f"touch {marker}")}, 2)
    torch_file(path, body, {})
    assert "asks for" in refusal(path)


def test_older_torch_file_with_an_attack_in_any_of_its_pickles_is_refused(tmp_path, marker):
    good = io.BytesIO()
    torch.save({"a": torch.ones(2)}, good, _use_new_zipfile_serialization=False)
    raw, bounds = good.getvalue(), [0]
    for _ in range(5):
        stream = io.BytesIO(raw[bounds[-1] :])
        for _ in pickletools.genops(stream):
            pass
        bounds.append(bounds[-1] + stream.tell())
    attack = pickle.dumps(Calls(os.system, f"touch {marker}"), 2)
    path = tmp_path / "old.pth"
    for k in range(5):
        path.write_bytes(raw[: bounds[k]] + attack + raw[bounds[k + 1] :])
        assert "asks for" in refusal(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip archive", "older format"])
def test_file_cut_off_anywhere_is_called_damaged(tmp_path, zipped):
    path = tmp_path / "cut.pth"
    torch.save({"a": torch.ones(20)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 13):
        path.write_bytes(whole[:length])
        message = refusal(path)
        assert "not a pickle or PyTorch file" in message or "refused" in message


def test_missing_file_and_folder_are_named(tmp_path):
    assert refusal(tmp_path / "none.pth") == (
        f"{tmp_path / 'none.pth'}: no such file. Expected a .pth, .pt or .pkl file."
    )
    assert "no such file" in refusal(tmp_path)


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_random_bytes_never_raise_anything_else(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "random.pkl"
    base = pickle.dumps({"a": np.arange(3.0), "b": [1, (2, "x")], "c": Holder(y=1)}, 2)
    for _ in range(300):
        body = bytearray(base)
        for place in rng.integers(len(body), size=3):
            body[place] = rng.integers(256)
        path.write_bytes(bytes(body))
        with contextlib.suppress(EnsembleError):
            read_pickle(path)


def test_joblib_file_is_refused_with_what_to_do(tmp_path):
    joblib = pytest.importorskip("joblib")
    path = tmp_path / "pca.joblib"
    joblib.dump({"a": np.arange(5.0)}, path)
    assert "written by joblib; write it again with pickle.dump" in refusal(path)
