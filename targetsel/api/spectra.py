"""Measured spectra: their latents, line strengths, and widths in a catalog's convention."""

from __future__ import annotations

from collections.abc import Sequence
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from targetsel.api.given import AnyPath, AnyPaths, path_of, paths_of
from targetsel.remote.copies import with_addresses
from targetsel.scoring import DEFAULT

if TYPE_CHECKING:
    from targetsel.spectra.encoding import EncodedSpectra
    from targetsel.spectra.lines.strengths import LineStrengths
    from targetsel.spectra.lines.width_maps import WidthMaps
    from targetsel.spectra.reading import Attempt


@with_addresses("output", "picture")
def encode_spectra(
    spectra: AnyPaths,
    output: AnyPath,
    *,
    redshift: float | None = None,
    redshifts: AnyPath | None = None,
    warned: bool = False,
    id_from: Literal["survey", "file"] = "survey",
    ensemble: AnyPath = DEFAULT,
    decoder: AnyPath | None = None,
    picture: AnyPath | None = None,
) -> tuple[Attempt[EncodedSpectra], ...]:
    """Write the latents of measured spectra, as `targetsel spectra encode` does.

    Parameters
    ----------
    spectra : str, Path, or several
        Files of SDSS, BOSS, SDSS-V or DESI, .npz, .csv or .parquet.
    output : str or Path
        Parquet file of latents, which `compare`, `calibrate` and `train` take.
    redshift : float, optional
        Of every spectrum; by default as in the files. Not together with `redshifts`.
    redshifts : str or Path, optional
        Table of redshifts by id, such as one of redrock; by default those in the files, and for
        DESI redrock's file beside each.
    warned : bool
        Take redshifts that their survey warns of, too.
    id_from : "survey" or "file"
        Name SDSS spectra by the ids in their files (SPECOBJID, or plate-mjd-fiber), or by the
        files' names.
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
    SpectrumError
        If no spectrum can be used, or both `redshift` and `redshifts` are given.
    EnsembleError
        If there is no such ensemble or decoder.
    OutputError
        If a file cannot be written, or is one that is read here.
    ExtraError
        If a picture is asked for, and matplotlib is not installed.

    See Also
    --------
    compare : Compare predictions with these latents.
    train : Learn these latents from images.
    measure_spectra : Line strengths of the spectra.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.encode_spectra("measured-spectra.parquet", "latents.parquet")
    >>> found[0].source_id, found[0].result.latent_mean.shape
    (7, (1, 6))
    """
    from targetsel.scoring.ensemble import decoder_file
    from targetsel.spectra.encoding import write_encoded
    from targetsel.spectra.redshifts import SpectrumOptions

    chosen = decoder_file(fspath(ensemble), path_of(decoder))
    options = SpectrumOptions.of(path_of(redshifts), warned, id_from, redshift)
    places = paths_of(spectra), chosen, Path(output)
    return write_encoded(*places, redshift, path_of(picture), options)


@with_addresses("output")
def measure_spectra(
    spectra: AnyPaths,
    output: AnyPath,
    *,
    redshift: float | None = None,
    redshifts: AnyPath | None = None,
    warned: bool = False,
    id_from: Literal["survey", "file"] = "survey",
    lines: AnyPath | None = None,
    indices: Sequence[str] = (),
    ew_sign: Literal["emission", "mpa"] = "emission",
) -> tuple[Attempt[LineStrengths], ...]:
    """Write lines and indices of measured spectra with errors, as `targetsel spectra measure` does.

    Parameters
    ----------
    spectra : str, Path, or several
        Files of SDSS, BOSS, SDSS-V or DESI, .npz, .csv or .parquet.
    output : str or Path
        Parquet file; equivalent widths in Angstrom.
    redshift : float, optional
        Of every spectrum; by default as in the files. Not together with `redshifts`.
    redshifts : str or Path, optional
        Table of redshifts by id, such as one of redrock; by default those in the files, and for
        DESI redrock's file beside each.
    warned : bool
        Take redshifts that their survey warns of, too.
    id_from : "survey" or "file"
        Name SDSS spectra by the ids in their files (SPECOBJID, or plate-mjd-fiber), or by the
        files' names.
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
    SpectrumError
        If no spectrum can be used, the line table cannot be understood or lacks an index, or both
        `redshift` and `redshifts` are given.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    encode_spectra : Latents of the spectra.
    measure : The same for decoded spectra in memory.
    calibrate_lines : Turn widths into a catalog's convention.

    Examples
    --------
    >>> import targetsel as ts
    >>> found = ts.measure_spectra("measured-spectra.parquet", "strengths.parquet")
    >>> width, error = found[0].result["ew_halpha"]
    >>> width.shape
    (1,)
    """
    from targetsel.spectra.lines.strengths import write_measured
    from targetsel.spectra.redshifts import SpectrumOptions

    places = paths_of(spectra), Path(output)
    options = SpectrumOptions.of(path_of(redshifts), warned, id_from, redshift)
    return write_measured(*places, redshift, path_of(lines), indices, ew_sign, options)


@with_addresses("output")
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
    CatalogError
        If the table cannot be read, or lacks a column of a pair.
    SpectrumError
        If there are too few pairs, or the catalog's widths do not grow with the raw ones.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    apply_lines : Add the calibrated widths to a scored catalog.

    Examples
    --------
    >>> import targetsel as ts
    >>> maps = ts.calibrate_lines("truth.parquet", "widths.json")
    >>> list(maps.maps)
    ['ew_oii', 'ew_hbeta', 'ew_oiii', 'ew_halpha', 'ew_nii', 'ew_sii']
    """
    from targetsel.spectra.lines.width_maps import maps_from_table
    from targetsel.tables.files import check_output

    check_output(Path(output), [Path(pairs)])
    found = maps_from_table(Path(pairs), pair)
    found.write(Path(output))
    return found


@with_addresses("output")
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
    CatalogError
        If the scored catalog cannot be read.
    SpectrumError
        If the file of maps cannot be read, or the catalog has none of their widths, or has the
        columns already.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    calibrate_lines : Fits the maps.
    select : Rules may ask for ``ew_halpha_cal`` and the like.

    Examples
    --------
    >>> import targetsel as ts
    >>> maps = ts.calibrate_lines("truth.parquet", "widths.json")
    >>> added = ts.apply_lines("catalog.scored.parquet", maps, "widths.parquet")
    >>> "ew_halpha_cal" in added
    True
    """
    from targetsel.spectra.lines.width_maps import WidthMaps, write_calibrated

    known = maps if isinstance(maps, WidthMaps) else WidthMaps.read(Path(maps))
    return write_calibrated(Path(scored), known, Path(output))
