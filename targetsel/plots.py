"""The names of matplotlib that the package draws with; matplotlib comes with the extra `plots`.

Modules that draw import them from here. Where matplotlib is not installed, that import raises an
`ExtraError`, whose one line says how to install it. `pyplot` is not among them: figures are made
and written directly, without a screen and without a list of open figures.
"""

from __future__ import annotations

from targetsel.extras import require

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.image import imsave
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError:
    require("plots", "A picture")
    raise

__all__ = [
    "Axes",
    "Figure",
    "LogNorm",
    "MaxNLocator",
    "imsave",
    "matplotlib",
]
