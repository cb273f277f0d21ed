"""Redshifts from elsewhere, joined to scored catalogs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath
from targetsel.remote.copies import with_addresses
from targetsel.tables.any_form import AnyTable

if TYPE_CHECKING:
    from targetsel.redshifts.joining import JoinedRedshifts
    from targetsel.scored.rows import Scored


@with_addresses("output")
def join_redshifts(
    scored: AnyTable,
    redshift_pdf: AnyPath,
    output: AnyPath | None = None,
    *,
    redshift: str = "",
    redshift_error: str | float = "",
    id_col: str | None = None,
    combine: bool = False,
) -> Scored[JoinedRedshifts]:
    """The scored catalog with redshifts from elsewhere, as `targetsel join-redshifts`.

    ``photoz`` is then theirs, and line strengths are those that the image shows at these
    redshifts; ``photoz_from`` tells what each is from.

    Parameters
    ----------
    scored : Scored, str, Path or table
    redshift_pdf : str or Path
        A file of qp, in HDF5 or Parquet; or a table of redshifts with errors, or of densities in a
        nested column.
    output : str or Path, optional
        File to write; by default the result stays in memory.
    redshift, redshift_error : str or float
        Columns of the table, or one error for all; by default usual names.
    id_col : str, optional
        Its column of ids; by default ``source_id`` or another usual name.
    combine : bool
        Multiply the densities with the image's own; by default they take its place.

    Returns
    -------
    Scored
        ``run`` has the counts: ``n_matched``, and ``origins``.

    Raises
    ------
    CatalogError
        If a file cannot be read, lacks a column, or repeats an id, or no id is in both.
    SpectrumError
        If densities are negative, do not rise or do not integrate to 1.
    ExtraError
        If the file is HDF5, and h5py is not installed.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    score : Makes the scored catalog.
    observe : Line fluxes and signal-to-noise ratios at these redshifts.

    Examples
    --------
    >>> import targetsel as ts
    >>> joined = ts.join_redshifts(
    ...     "catalog.scored.parquet", "known-spectra.parquet", redshift_error=0.001
    ... )
    >>> joined.run.n_matched == joined.run.origins["elsewhere"]
    True
    """
    from targetsel.redshifts.joining import join_redshifts as join
    from targetsel.scored.rows import scored_into

    return scored_into(
        output,
        lambda path: join(
            scored,
            Path(redshift_pdf),
            path,
            redshift=redshift,
            redshift_error=str(redshift_error),
            id_col=id_col or "",
            combine=combine,
        ),
    )
