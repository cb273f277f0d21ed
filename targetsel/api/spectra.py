"""Measured spectra: their latents, line strengths, and widths in a catalog's convention."""

from __future__ import annotations

from collections.abc import Sequence
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from targetsel.api.given import AnyPath, AnyPaths, path_of, paths_of
from targetsel.scoring import DEFAULT

if TYPE_CHECKING:
    from targetsel.spectra.encoding import EncodedSpectra
    from targetsel.spectra.lines.strengths import LineStrengths
    from targetsel.spectra.lines.width_maps import WidthMaps
    from targetsel.spectra.reading import Attempt


def encode_spectra(
    spectra: AnyPaths,
    output: AnyPath,
    *,
    redshift: float | None = None,
    ensemble: AnyPath = DEFAULT,
    decoder: AnyPath | None = None,
    picture: AnyPath | None = None,
) -> tuple[Attempt[EncodedSpectra], ...]:
    """Write the latents of measured spectra, as `targetsel spectra encode` does.

    Parameters
    ----------
    spectra : str, Path, or several
        SDSS spec or spec-lite FITS, .npz, .csv or .parquet.
    output : str or Path
        Parquet file of latents, which `compare`, `calibrate` and `train` take.
    redshift : float, optional
        Of every spectrum; by default as in the files.
    ensemble : str or Path
        Ensemble whose decoder is used.
    decoder : str or Path, optional
        Another decoder, a folder or file.
    picture : str or Path, optional
        PNG of the first spectra, measured and decoded; wavelengths in Angstrom.

    Returns
    -------
    tuple of Attempt
        One for each spectrum: its `result` has latents, or is the error.

    Raises
    ------
    SpectrumError, EnsembleError, OutputError
        If no spectrum can be used, too.
    """
    from targetsel.scoring.ensemble import decoder_file
    from targetsel.spectra.encoding import write_encoded

    chosen = decoder_file(fspath(ensemble), path_of(decoder))
    return write_encoded(paths_of(spectra), chosen, Path(output), redshift, path_of(picture))


def measure_spectra(
    spectra: AnyPaths,
    output: AnyPath,
    *,
    redshift: float | None = None,
    lines: AnyPath | None = None,
    indices: Sequence[str] = (),
    ew_sign: Literal["emission", "mpa"] = "emission",
) -> tuple[Attempt[LineStrengths], ...]:
    """Write lines and indices of measured spectra with errors, as `targetsel spectra measure` does.

    Parameters
    ----------
    spectra : str, Path, or several
        SDSS spec or spec-lite FITS, .npz, .csv or .parquet.
    output : str or Path
        Parquet file; equivalent widths in Angstrom.
    redshift : float, optional
        Of every spectrum; by default as in the files.
    lines : str or Path, optional
        YAML file of definitions to add to the line table.
    indices : sequence of str
        Such as "ew_halpha"; by default the whole table.
    ew_sign : "emission" or "mpa"
        Emission positive, or negative as in the MPA-JHU catalog.

    Returns
    -------
    tuple of Attempt
        One for each spectrum: its `result` has values and errors, or is the error.

    Raises
    ------
    SpectrumError, OutputError
        If no spectrum can be used, too.
    """
    from targetsel.spectra.lines.strengths import write_measured

    places = paths_of(spectra), Path(output)
    return write_measured(*places, redshift, path_of(lines), indices, ew_sign)


def calibrate_lines(pairs: AnyPath, output: AnyPath, *, pair: Sequence[str] = ()) -> WidthMaps:
    """Fit maps from side-band widths to a catalog's, as `targetsel lines calibrate` does.

    Parameters
    ----------
    pairs : str or Path
        Table with columns of raw and of catalog widths [Angstrom].
    output : str or Path
        JSON file of the maps.
    pair : sequence of str
        Each two columns as ``"RAW=CATALOG"``; by default those of the mock sky's truth.

    Returns
    -------
    WidthMaps

    Raises
    ------
    CatalogError, SpectrumError, OutputError
    """
    from targetsel.spectra.lines.width_maps import maps_from_table
    from targetsel.tables.files import check_output

    check_output(Path(output), [Path(pairs)])
    found = maps_from_table(Path(pairs), pair)
    found.write(Path(output))
    return found


def apply_lines(scored: AnyPath, maps: AnyPath | WidthMaps, output: AnyPath) -> list[str]:
    """Add calibrated widths to a scored catalog, as `targetsel lines apply` does.

    Parameters
    ----------
    scored : str or Path
    maps : WidthMaps, str or Path
    output : str or Path
        Scored catalog to write.

    Returns
    -------
    list of str
        The columns that were added [Angstrom].

    Raises
    ------
    CatalogError, SpectrumError, OutputError
    """
    from targetsel.spectra.lines.width_maps import WidthMaps, write_calibrated

    known = maps if isinstance(maps, WidthMaps) else WidthMaps.read(Path(maps))
    return write_calibrated(Path(scored), known, Path(output))
