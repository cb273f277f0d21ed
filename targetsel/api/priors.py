"""Spectral priors from images, and their combination with measured spectra."""

from __future__ import annotations

from collections.abc import Iterable
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from targetsel.api.given import AnyPath, AnyPaths, paths_of
from targetsel.errors import SpectrumError
from targetsel.remote.copies import with_addresses
from targetsel.scoring import DEFAULT

if TYPE_CHECKING:
    from targetsel.priors.update import UpdateSummary
    from targetsel.priors.writing import WrittenPriors


@with_addresses("output")
def write_priors(
    scored: AnyPath,
    output: AnyPath,
    *,
    ids: str | Iterable[int | str] | None = None,
    format: Literal["parquet", "fits"] = "parquet",
    fitter: str | None = None,
    function: str | None = None,
    redshift: str | float | None = None,
    redshift_error: str | float | None = None,
    draws: int = 0,
    seed: int = 0,
    ensemble: AnyPath = DEFAULT,
) -> WrittenPriors:
    """Write what images say of every spectrum, as `targetsel priors write` does.

    `PriorFile.open` reads the file; its priors give spectra [erg/s/cm2/Angstrom, up to a factor],
    covariances and draws.

    Parameters
    ----------
    scored : str or Path
    output : str or Path
        Parquet file; a new folder for FITS files; or the file of a fitter, which ends as it wants.
    ids : str or iterable, optional
        Only these sources: their ids, or a file with one per line.
    format : "parquet" or "fits"
        One Parquet file, or one FITS file per source.
    fitter : "redrock", "eazy", "bagpipes" or "prospector", optional
        Write redshifts alone, in the form of this fitter; all but the first are experimental.
    function : "gaussian", "lorentzian" or "tophat", optional
        Function of the redshift, for "redrock"; a top hat holds 99 % of the probability.
    redshift, redshift_error : str or float, optional
        A column, or one value for all; by default spectra are in the rest frame, and a fitter
        gets `photoz` with its posterior.
    draws : int
        Number of draws of each spectrum to store.
    seed : int
        Seed of the draws.
    ensemble : str or Path
        The one that scored the catalog.

    Returns
    -------
    WrittenPriors
        The number of sources, and of those that have a prior, or a redshift for a fitter.

    Raises
    ------
    CatalogError
        If the scored catalog cannot be read, lacks a source that is named, or no source has a
        prior; if a fitter could not take its ids.
    EnsembleError
        If there is no such ensemble, or it is not the one that scored the catalog.
    SpectrumError
        If a redshift or its error is out of range, or there is an error without a redshift; if a
        fitter, or its function, is not known.
    SpectrographError
        If the column of redshifts is missing, or holds something else.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    PriorFile.open : Read the file.
    update_priors : Combine the priors with measured spectra.

    Examples
    --------
    >>> import targetsel as ts
    >>> written = ts.write_priors(
    ...     "catalog.scored.parquet",
    ...     "priors.parquet",
    ...     ids=[7, 16, 27, 46, 61],
    ...     redshift="redshift",
    ...     redshift_error=0.001,
    ... )
    >>> written.n_priors
    5

    For Redrock, the redshifts as predicted:

    >>> written = ts.write_priors("catalog.scored.parquet", "priors.fits", fitter="redrock")
    """
    from targetsel.observing.redshift import parse_redshift
    from targetsel.priors.fitters import write_for_fitter
    from targetsel.priors.writing import (
        PriorOptions,
        ScoredPosteriors,
        read_ids,
        write_fits,
        write_parquet,
    )

    z, error = (
        parse_redshift(str(each)) if each is not None else None
        for each in (redshift, redshift_error)
    )
    options = PriorOptions(z, error, draws, seed)
    wanted = read_ids(ids) if isinstance(ids, str) else {str(each) for each in ids or ()}
    if fitter is not None:
        _check_apart_from_spectra(format, draws)
        return write_for_fitter(
            Path(scored), Path(output), fitter, function, options, wanted or None
        )
    if function is not None:
        raise SpectrumError(
            f"a function of the redshift, '{function}', is for a fitter. Name it by --for, or "
            "leave the function out."
        )
    posteriors = ScoredPosteriors.open(Path(scored), fspath(ensemble), options)
    write = write_fits if format == "fits" else write_parquet
    return write(posteriors, Path(output), wanted or None)


def _check_apart_from_spectra(format: str, draws: int) -> None:
    """Refuse options about spectra where redshifts alone are written."""
    for given, name in ((format != "parquet", f"--format {format}"), (draws, f"--draws {draws}")):
        if given:
            raise SpectrumError(
                f"{name}: of spectra, but --for writes redshifts alone. Leave one of them out."
            )


@with_addresses("output", "qp_output")
def update_priors(
    priors: AnyPath,
    spectra: AnyPaths,
    output: AnyPath,
    *,
    redshift_range: tuple[float, float] | None = None,
    calibration: float = 0.05,
    qp_output: AnyPath | None = None,
    seed: int = 0,
    ensemble: AnyPath = DEFAULT,
) -> UpdateSummary:
    """Combine priors with measured spectra, as `targetsel priors update` does.

    Parameters
    ----------
    priors : str or Path
        File that `write_priors` wrote.
    spectra : str, Path, or several
        Measured spectra whose source_id is that of the priors.
    output : str or Path
        Parquet file of redshifts, line strengths [Angstrom] and spectra.
    redshift_range : two floats, optional
        Ends of a flat redshift prior; by default the priors' own redshifts.
    calibration : float
        Relative error of the spectra's flux calibration.
    qp_output : str or Path, optional
        Also write the redshifts to a file of qp, as percentiles: ``.hdf5`` or ``.pq``.
    seed : int
        Seed of the draws.
    ensemble : str or Path
        The one that scored the catalog.

    Returns
    -------
    UpdateSummary
        The number of spectra, and the errors of those that could not be used.

    Raises
    ------
    CatalogError
        If the file of priors cannot be read, or is none.
    EnsembleError
        If there is no such ensemble, or the priors are of another one's decoder.
    SpectrumError
        If no spectrum can be used.
    ExtraError
        If the file of qp is HDF5, and h5py is not installed.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    write_priors : Writes the priors.
    measure_spectra : Line strengths of spectra alone.

    Examples
    --------
    With the priors that the example of `write_priors` writes:

    >>> import targetsel as ts
    >>> updated = ts.update_priors("priors.parquet", "measured-spectra.parquet", "updated.parquet")
    >>> updated.n_spectra
    5
    """
    from targetsel.priors.files import PriorFile
    from targetsel.priors.prior import RedshiftPrior
    from targetsel.priors.update import UpdateOptions, update_files

    file = PriorFile.open(Path(priors), fspath(ensemble))
    known = RedshiftPrior.flat(*redshift_range) if redshift_range else None
    options = UpdateOptions(seed=seed, calibration=calibration)
    qp = None if qp_output is None else Path(qp_output)
    return update_files(file, paths_of(spectra), Path(output), known, options, qp)


@with_addresses()
def fit_residual(spectra: AnyPath, ensemble: AnyPath, *, column: str = "flux_true") -> int:
    """Fit the residuals that an ensemble's decoder leaves, as `targetsel priors residual` does.

    Parameters
    ----------
    spectra : str or Path
        Parquet with noise-free rest-frame spectra, 1000 pixels a row.
    ensemble : str or Path
        Folder of the ensemble; the residual is written there.
    column : str
        Column of the spectra.

    Returns
    -------
    int
        Number of spectra that were fitted.

    Raises
    ------
    CatalogError
        If the spectra cannot be read, or lack the column.
    EnsembleError
        If there is no such ensemble, or its folder is damaged.
    SpectrumError
        If the column holds no spectra of 1000 pixels, or too few.

    See Also
    --------
    train : Makes the ensemble.
    write_priors : Writes priors, which include the residual.

    Examples
    --------
    With the ensemble that the example of `train` makes:

    >>> import targetsel as ts
    >>> n_spectra = ts.fit_residual("spectra.parquet", "mine")
    """
    from targetsel.priors.spectral_model import fit_residual as fit

    return fit(Path(spectra), column, Path(ensemble))
