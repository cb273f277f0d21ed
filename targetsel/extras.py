"""Packages that only some wishes need, each installed by an extra, such as `targetsel[plots]`.

What needs one asks for it with `require` before the work begins, not after an hour.
"""

from __future__ import annotations

from importlib.util import find_spec

from targetsel.errors import ExtraError

# Each extra of pyproject.toml, and what is imported of it.
EXTRAS = {
    "cluster": ("dask", "distributed", "hats", "lsdb"),
    "evaluate": ("sklearn",),
    "hdf5": ("h5py",),
    "onnx": ("onnx", "onnxscript"),
    "onnxruntime": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("openvino",),
    "plots": ("matplotlib",),
    "specutils": ("specutils",),
}


def installed(extra: str) -> bool:
    """Whether everything that an extra brings can be imported."""
    return not _absent(extra)


def require(extra: str, wish: str) -> None:
    """Stop with one line where an extra is not installed.

    Parameters
    ----------
    extra : str
        One of `EXTRAS`.
    wish : str
        What needs it, as the first words of the message, such as "A picture".

    Raises
    ------
    ExtraError
        It names the package and the command that installs it.
    """
    if absent := _absent(extra):
        verb = "is" if len(absent) == 1 else "are"
        raise ExtraError(
            f"{wish} needs {' and '.join(absent)}, which {verb} not installed. "
            f"Try: pip install 'targetsel[{extra}]'"
        )


def _absent(extra: str) -> list[str]:
    return [package for package in EXTRAS[extra] if find_spec(package) is None]
