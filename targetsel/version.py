"""The version of the package, the one that its results and footers name."""

__version__ = "0.1.0"
