"""Hostile pickles: mutations of real files and files made by hand, and a reader that survives them.

Run as a program it reads every file of a folder under a limit on its memory, and writes one line
for each: its name, `refused` or `read`, and what it holds.
"""

import contextlib
import io
import itertools
import pickle
import pickletools
import resource
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np

MEMORY = 1 << 28  # [byte] on top of what Python and NumPy take


# ---------------------------------------------------------------- opcodes by name


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value):
    return b"J" + struct.pack("<i", value)


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def call(function, *arguments):
    return function + b"(" + b"".join(arguments) + b"tR"


def storage(count, key="0", kind="FloatStorage"):
    parts = text("storage") + name("torch", kind) + text(key) + text("cpu") + number(count)
    return b"(" + parts + b"tQ"


def tensor(store, shape, stride, offset=0):
    sizes = [b"(" + b"".join(map(number, each)) + b"t" for each in (shape, stride)]
    hooks = call(name("collections", "OrderedDict"))
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, store, number(offset), *sizes, b"\x89", hooks)


def entry(key, value):
    return text(key) + value + b"s"


def pickle_of(body):
    return b"\x80\x02" + body + b"."


def archive(body, **storages):
    """A zip archive as PyTorch writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("archive/data.pkl", body)
        for key, values in storages.items():
            file.writestr(f"archive/data/{key}", np.asarray(values, "<f4").tobytes())
    return stream.getvalue()


def numbers(count, **others):
    """Storage 0 with the numbers from 0, beside others."""
    return {"0": np.arange(count), **others}


# ---------------------------------------------------------------- files made by hand


def build_on_its_storage(count):
    """A tensor on a storage, and then a new state for the storage itself."""
    empty = b"(" + number(1) + b"(" + number(1) + b"t"
    dtype = call(name("numpy", "dtype"), text("u1"), b"\x89", b"\x88")
    state = empty + dtype + b"\x89" + b"C\x01\x00" + b"t"
    body = b"}" + entry("weight", tensor(storage(count) + b"q\x01", (count,), (1,)))
    body += entry("none", b"h\x01" + state + b"b")
    return archive(pickle_of(body), **numbers(count))


def _targets():
    array = call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"),
                 b"K\x00\x85", b"C\x01b")  # fmt: skip
    shape = (4,), (1,)
    return {
        "storage": storage(4),
        "tensor": tensor(storage(4), *shape),
        "parameter": call(name("torch._utils", "_rebuild_parameter"), tensor(storage(4), *shape)),
        "array": array,
        "dtype": call(name("numpy", "dtype"), text("f4"), b"\x89", b"\x88"),
        "size": call(name("torch", "Size"), b"K\x01\x85"),
        "ordered": call(name("collections", "OrderedDict")),
        "class": name("torch", "FloatStorage"),
        "record": name("m", "C") + b")\x81",
        "dict": b"}",
        "list": b"]",
        "tuple": b"K\x01\x85",
        "set": b"\x8f",
        "frozenset": b"(K\x01\x91",
        "int": number(7),
        "float": b"G" + struct.pack(">d", 1.5),
        "str": text("a"),
        "bytes": b"C\x01a",
        "bytearray": b"\x96" + struct.pack("<Q", 1) + b"a",
        "none": b"N",
    }


def _states():
    dtype = call(name("numpy", "dtype"), text("f4"), b"\x89", b"\x88")
    fields = [b"(" + k + v + b"d" for k, v in ((text("x"), b"N"), (text("__class__"), b"K\x01"))]
    return {
        "fields": fields[0],
        "class": b"N" + fields[1] + b"\x86",
        "both": fields[0] + fields[1] + b"\x86",
        "array": b"(K\x01K\x04\x85" + dtype + b"\x89C\x04abcdt",
        "huge": b"(K\x01" + number(1 << 30) + b"\x85" + dtype + b"\x89C\x04abcdt",
        "name": name("torch", "FloatStorage"),
        "none": b"N",
        "itself": b"2",
    }


def _builds():
    for (kind, target), (state, value) in itertools.product(_targets().items(), _states().items()):
        body = pickle_of(b"]" + target + value + b"ba")
        yield f"build_{state}_on_{kind}", archive(body, **numbers(4))


def _wrong_types():
    """Appending, adding and setting on everything."""
    for kind, target in _targets().items():
        for what, steps in (("append", b"Na"), ("appends", b"(NNe"), ("add", b"(K\x01\x90"),
                            ("set", b"K\x00K\x01s"), ("sets", b"(K\x00K\x01u"), ("call", b")R"),
                            ("new", b")\x81")):  # fmt: skip
            body = pickle_of(b"]" + target + steps + b"a")
            yield f"{what}_on_{kind}", archive(body, **numbers(4))
        yield f"key_{kind}", archive(pickle_of(b"}" + target + b"Ns"), **numbers(4))


def _persistent_ids():
    good = [text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(4)]
    bad = [b"N", b"]", number(-1), number(1 << 30), text("x"), name("os", "system"), b")"]
    for place, value in itertools.product(range(5), bad):
        parts = [*good[:place], value, *good[place + 1 :]]
        body = pickle_of(tensor(b"(" + b"".join(parts) + b"tQ", (4,), (1,)))
        yield f"id_{place}_{bad.index(value)}", archive(body, **numbers(4))
    yield "id_text", pickle_of(b"Pmarker\n")
    yield "id_short", pickle_of(text("storage") + b"\x85Q")
    yield "id_view", archive(pickle_of(b"(" + b"".join(good) + b"K\x01tQ"), **numbers(4))
    yield "id_outside", pickle_of(storage(4))
    twice = b"]" + storage(4) + b"a" + storage(2) + b"a"
    yield "id_two_sizes", archive(pickle_of(twice), **numbers(4))


def _sizes():
    for opcode in (b"\x8e", b"\x8d", b"\x96", b"\x95"):
        for size in (1 << 31, 1 << 40, (1 << 64) - 1):
            yield (
                f"claims_{opcode.hex()}_{size}",
                b"\x80\x04" + opcode + struct.pack("<Q", size) + b"x.",
            )
    for opcode in (b"B", b"X", b"T", b"\x8b"):
        for size in (1 << 30, -1):
            yield (
                f"claims_{opcode.hex()}_{size}",
                b"\x80\x03" + opcode + struct.pack("<i", size) + b"x.",
            )
    for index in (1 << 20, 1 << 31, (1 << 32) - 1):
        yield f"memo_{index}", pickle_of(b"Nr" + struct.pack("<I", index))
        yield f"memo_text_{index}", pickle_of(b"Np%d\n" % index)
        yield f"recall_{index}", pickle_of(b"j" + struct.pack("<I", index))
    yield "memo_negative", pickle_of(b"Np-1\n")
    yield "memo_far_text", pickle_of(b"Np%d\n" % (1 << 70))
    yield "long_text", pickle_of(b"L" + b"9" * 100_000 + b"L\n")
    yield "long", pickle.dumps(1 << 100_000, 2)
    for shape, stride, offset in (
        ((1 << 30,), (0,), 0), ((4,), (1,), 1), ((2, 2), (3, 1), 0), ((4,), (-1,), 3),
        ((4,), (1,), -4), ((2,) * 40, (0,) * 40, 0), ((-1,), (1,), 0), ((4,), (), 0),
        ((1,), (1 << 30,), 0),
    ):  # fmt: skip
        body = pickle_of(tensor(storage(4), shape, stride, offset))
        yield f"tensor_{shape[0]}_{len(shape)}_{stride}_{offset}", archive(body, **numbers(4))
    views = b"](" + tensor(storage(4000), (4000,), (1,)) * 2000 + b"e"
    yield "many_views", archive(pickle_of(views), **numbers(4000))


def _nested():
    n = 30_000
    yield "deep_lists", pickle_of(b"]" * n + b"a" * (n - 1))
    yield "deep_tuples", pickle_of(b")" + b"\x85" * n)
    yield "deep_pairs", pickle_of(b")" + b"2\x86" * n)
    yield "deep_tuple_key", pickle_of(b"}" + b")" + b"\x85" * n + b"Ns")
    yield "deep_tuple_member", pickle_of(b"(" + b")" + b"\x85" * n + b"\x91")
    yield "wide_tuple_key", pickle_of(b"})" + b"2\x86" * 60 + b"Ns")
    yield "recalled_tuple_key", pickle_of(b"})q\x00" + b"\x85q\x00" * 1000 + b"0h\x00Ns")
    yield "deep_dicts", pickle_of(b"}" + b"K\x01}" * n + b"s" * n)
    yield "deep_frozensets", pickle_of(b"(" * n + b"\x91" * n)
    yield "deep_calls", pickle_of(name("m", "f") + b"q\x000" + b"h\x00" * n + b")" + b"R\x85" * n)
    record = name("m", "C") + b"q\x000"
    yield "deep_records", pickle_of(record + b"h\x00)\x81" * (n // 4) + b"b" * (n // 4 - 1))
    yield "deep_arguments", pickle_of(record + b"h\x00" * (n // 4) + b")" + b"\x81\x85" * (n // 4))
    yield "deep_marks", pickle_of(b"(" * n + b"t" * n)
    yield "holds_itself", pickle_of(b"]q\x00h\x00a")
    yield "holds_itself_in_a_record", pickle_of(name("m", "C") + b")\x81q\x00h\x00b")
    yield "holds_itself_in_a_tuple", pickle_of(b"](h\x00tq\x010]q\x00h\x00a")
    yield "laughs", pickle_of(text("ha") + b"2\x86" * 200)
    yield "chosen_hashes", pickle_of(
        b"}(" + b"".join(b"\x8a\x0f" + (k * ((1 << 61) - 1)).to_bytes(15, "little") + b"N"
                         for k in range(1, 20_000)) + b"u")  # fmt: skip
    names = b"".join(name("m", f"c{k}") + b"0" for k in range(20_000))
    yield "many_names", pickle_of(names + b"N")
    state = b"(" + b"".join(text(f"{k}") + b"N" for k in range(15_000)) + b"dq\x000"
    again = name("m", "C") + b")\x81h\x00%sb"
    yield "one_state_for_all", pickle_of(state + b"(" + again % b"" * 3000 + b"t")
    yield "slots_for_all", pickle_of(state + b"(" + again % b"h\x00\x86" * 3000 + b"t")


def _names():
    for module, attribute in (
        ("os", "system"), ("posix", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
        ("builtins", "getattr"), ("builtins", "__import__"), ("pickle", "loads"), ("sys", "exit"),
        ("importlib", "import_module"), ("torch", "load"), ("torch.hub", "load"), ("copyreg", "x"),
        ("numpy", "load"), ("numpy.f2py", "main"), ("targetsel.errors", "EnsembleError"),
        ("operator", "attrgetter"), ("functools", "partial"), ("ctypes", "CDLL"), ("", ""),
        ("targetsel.weights.unpickling", "_Unpickler"), ("collections.OrderedDict", "__class__"),
        ("builtins", "object.__subclasses__"), ("torch.storage", "_load_from_bytes"),
    ):  # fmt: skip
        body = text(module) + text(attribute) + b"\x93"
        yield f"call_{module}.{attribute}", b"\x80\x04" + body + text("x") + b"\x85R."
        instance = f"(S'x'\ni{module}\n{attribute}\n.".encode()
        yield f"inst_{module}.{attribute}", instance
    for kind, target in _targets().items():
        yield f"name_of_{kind}", archive(pickle_of(target + text("x") + b"\x93"), **numbers(4))
    for opcode in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"\x97", b"N\x98"):
        yield f"opcode_{opcode.hex()}", b"\x80\x05" + opcode + b"."
    yield "new_with_keywords", b"\x80\x04" + name("m", "C") + b")}\x92."
    for empty in (b"0", b"1", b"2", b"a", b"t", b"R", b"b", b"q\x00", b"\x94", b"", b"(", b"NN"):
        yield f"underflow_{empty.hex()}", b"\x80\x04" + empty + b"."


def _archives():
    body = pickle_of(tensor(storage(4), (4,), (1,)))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(10_000_000))
    yield "compressed", stream.getvalue()
    good = archive(body, **numbers(4))
    size = good.rindex(b"PK\x01\x02") + 20
    for claimed in (0, 3, 1 << 31, (1 << 32) - 1):
        for place in (size, size + 4):
            changed = good[:place] + struct.pack("<I", claimed) + good[place + 4 :]
            yield f"member_{place - size}_{claimed}", changed
    yield "short_storage", archive(body, **numbers(3))
    yield "no_storage", archive(body)
    yield "no_pickle", archive(body).replace(b"data.pkl", b"data.pkx")
    yield "old_magic_only", pickle.dumps(0x1950A86A20F9469CFC6C, 2)


def _good():
    """Files that share storages and memos as real ones do; each holds the numbers from 0."""
    two = tensor(storage(4) + b"q\x05", (4,), (1,)) + b"a" + tensor(b"h\x05", (2, 2), (1, 2))
    yield "good_shared_storage", archive(pickle_of(b"]" + two + b"a"), **numbers(4))
    again = b"]" + tensor(storage(4), (4,), (1,)) + b"q\x07a" + b"h\x07a" + b"h\x07a"
    yield "good_shared_tensor", archive(pickle_of(again), **numbers(4))
    part = tensor(storage(4), (2,), (2,), 1)
    yield "good_part", archive(pickle_of(b"]" + part + b"a"), **numbers(4))


def crafted():
    """Files made by hand, by name."""
    found = {f"storage_state_{n}": build_on_its_storage(n) for n in (20, 1_000_000)}
    for files in (_builds(), _wrong_types(), _persistent_ids(), _sizes(), _nested(), _names(),
                  _archives(), _good()):  # fmt: skip
        for label, content in files:
            label = "".join(c if c.isalnum() or c in "_-." else "_" for c in label)
            assert label not in found, label
            found[label] = content
    return found


# ---------------------------------------------------------------- mutations


def mutated(content, rng):
    """A file with some of its bytes or opcodes changed; a zip archive keeps its checksums."""
    if content[:2] == b"PK" and rng.random() < 0.8:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = {each: file.read(each) for each in file.namelist()}
        chosen = next(each for each in members if each.endswith("data.pkl"))
        if rng.random() < 0.1:
            chosen = rng.choice(list(members))
        members[chosen] = mutated(members[chosen], rng)
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as file:
            for each, raw in members.items():
                file.writestr(each, raw)
        return stream.getvalue()
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        _change(changed, rng)
    return bytes(changed)


def _change(changed, rng):
    places = _opcode_places(bytes(changed))
    kind = rng.randrange(7)
    place = rng.randrange(len(changed)) if kind < 2 or not places else rng.choice(places)
    if kind == 0:
        changed[place] = rng.randrange(256)
    elif kind == 1:
        del changed[place : place + rng.choice((1, 4, len(changed)))]
    elif kind == 2:  # another opcode, its argument left as it is
        changed[place] = ord(rng.choice(pickletools.opcodes).code)
    elif kind == 3:  # a step that takes no argument
        changed[place:place] = rng.choice([b"b", b"R", b"2", b"0", b"\x81", b"a", b"(", b"t", b"s"])
    elif kind == 4:  # a step that leaves a value
        steps = [b"h\x00", b"h\x01", b"h\x05", b"K\x01", b"N", b"}", b")"]
        changed[place:place] = rng.choice(steps)
    elif kind == 5 and places:  # a run of steps once more
        other = rng.choice(places)
        first, last = sorted((other, rng.choice(places)))
        changed[place:place] = changed[first : min(last, first + 200)]
    else:
        end = place + rng.choice((1, 2, 4))
        changed[place:end] = rng.choice((b"\xff", b"\x7f", b"\x00")) * (end - place)
    if not changed:
        changed.append(0)


def _opcode_places(content):
    places = []
    with contextlib.suppress(Exception):
        for _, _, place in itertools.islice(pickletools.genops(content), 3000):
            places.append(place)
    return places


# ---------------------------------------------------------------- the reader


def summary(value):
    """What a value holds, after every number in it was touched."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str}{list(value.shape)}={np.array(value).tobytes().hex()[:200]}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k!r}:{summary(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple | set):
        return "[" + ",".join(summary(each) for each in value) + "]"
    if hasattr(value, "attributes"):
        parts = value.attributes, value.arguments, value.items, value.entries
        return repr(value) + "".join(map(summary, parts))
    plain = value is None or isinstance(value, int | float | str | bytes | complex | np.dtype)
    assert plain or type(value).__name__ == "GlobalName", type(value)
    return repr(value)[:100]


def main(folder):
    from targetsel.errors import EnsembleError
    from targetsel.weights.pickles import read_pickle

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    for path in sorted(Path(folder).iterdir()):
        print(path.name, end="\t", flush=True)
        try:
            held = "read\t" + summary(read_pickle(path))
        except EnsembleError as error:
            held = f"refused\t{error}"
        print(held.encode("ascii", "backslashreplace").decode()[:1000], flush=True)


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    main(sys.argv[1])
