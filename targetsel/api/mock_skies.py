"""Simulated skies, and the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath, path_of
from targetsel.remote.copies import with_addresses

if TYPE_CHECKING:
    from targetsel.mock.demonstration import Outcome
    from targetsel.mock.plan import SkyPlan


@with_addresses("output", "picture")
def mock_sky(
    output: AnyPath,
    n: int,
    *,
    seed: int = 0,
    survey: str = "ps1",
    variation: AnyPath | None = None,
    held_out: bool = False,
    picture: AnyPath | None = None,
    workers: int = 1,
) -> SkyPlan:
    """Simulate images and spectra of galaxies, as `targetsel mock` does.

    Galaxies are real ones of SDSS, two in five of them moved farther away; where there are no more,
    they are repeated, fainter. Images have the trouble of real ones.

    Parameters
    ----------
    output : str or Path
        Folder for catalog.parquet, truth.parquet, spectra.parquet and cutouts.
    n : int
        Number of sources.
    seed : int
        Seed of the simulation.
    survey : str
        Survey whose camera is simulated: "ps1", "sdss", "legacy", "hsc", "kids", "lsst" or
        "euclid".
    variation : str or Path, optional
        YAML file with changes to the camera and the galaxies; `realism: 0` and `farther: 0` make
        a tidy sky of the galaxies where they are.
    held_out : bool
        Use only galaxies that no shipped ensemble was trained on.
    picture : str or Path, optional
        PNG of the first sources.
    workers : int
        Worker processes; the files do not depend on them.

    Returns
    -------
    SkyPlan
        The simulated camera and galaxies.

    Raises
    ------
    MockError
        If there is no such survey, the variation cannot be used, or a number is out of range.
    OutputError
        If a file in the folder is not of a mock sky, or cannot be written.
    ExtraError
        If a picture is asked for, and matplotlib is not installed.

    See Also
    --------
    demo : A small mock sky, scored and selected.
    train : Train an ensemble on it.

    Examples
    --------
    >>> import targetsel as ts
    >>> plan = ts.mock_sky("sky", 10, seed=1)
    >>> len(ts.read("sky/catalog.parquet"))
    10
    """
    from targetsel.mock.camera import find_camera
    from targetsel.mock.plan import SkyPlan, Variation
    from targetsel.mock.writing import check_page, draw_page, write_sky

    place = path_of(variation)
    varied = None if place is None else Variation.read(place)
    plan = SkyPlan.of(n, seed, find_camera(survey), varied, held_out)
    if picture is not None:
        check_page(Path(output), Path(picture), place)
    write_sky(Path(output), plan, workers)
    if picture is not None:
        draw_page(Path(output), Path(picture))
    return plan


@with_addresses("output")
def demo(output: AnyPath = "demo", n: int | None = None, *, threads: int = 1) -> list[Outcome]:
    """Simulate a catalog and its images, score and select from it, as `targetsel demo` does.

    Parameters
    ----------
    output : str or Path
        Folder for all files.
    n : int, optional
        Number of sources; by default all 2,437.
    threads : int
        Worker threads; the files do not depend on them.

    Returns
    -------
    list of Outcome
        Selected, expected and true members of each class.

    Raises
    ------
    MockError
        If the number of sources is not positive.
    OutputError
        If a file in the folder is not of a mock sky, or cannot be written.

    See Also
    --------
    score : What one does first in the folder.
    mock_sky : Another simulated sky.

    Examples
    --------
    >>> import targetsel as ts
    >>> outcomes = ts.demo("smaller", 20)
    >>> outcomes[0].rules, outcomes[0].name
    ('aberrant', 'OFF_MANIFOLD')
    """
    from targetsel.mock.demonstration import run

    return run(Path(output), n, threads)
