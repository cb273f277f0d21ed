"""Files of redshift priors for fitters: the fitters by name, and one prior for each source.

A fitter is one module with a `FITTER`, named in `MODULES`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.special import ndtri

from targetsel.errors import CatalogError, OutputError, SpectrumError, unknown
from targetsel.observing.observation import naming
from targetsel.observing.redshift import Redshift, of_each
from targetsel.priors.fitter import BROAD, LEVELS, Fitter, KnownRedshifts
from targetsel.priors.prior import HIGHEST
from targetsel.priors.writing import PriorOptions, WrittenPriors
from targetsel.scored.columns import predicts_redshift
from targetsel.scored.file import ScoredFile
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import QUANTILES, ProxyPosterior
from targetsel.tables.columns import matrix
from targetsel.tables.files import check_output, written_beside
from targetsel.tables.ids import exact_id_type, exact_ids, repeated_ids

MODULES = ("redrock", "eazy", "bagpipes", "prospector")
FITTERS: dict[str, Fitter] = {
    fitter.name: fitter
    for module in MODULES
    for fitter in [import_module(f"targetsel.priors.{module}").FITTER]
}
WITHOUT_ERROR = "a redshift without an error is no prior. Give --redshift-error too."


def write_for_fitter(
    scored: Path,
    output: Path,
    fitter: str,
    function: str | None = None,
    options: PriorOptions = PriorOptions(),
    ids: set[str] | None = None,
) -> WrittenPriors:
    """Write what is known of every source's redshift in the form of a fitter.

    The redshift is the one predicted, `photoz`, with its posterior, or that of `options`. Sources
    without one have a very broad prior.

    Parameters
    ----------
    scored, output : Path
    fitter : str
        One of `FITTERS`.
    function : str, optional
        One of the fitter's `functions`; by default the first.
    ids : set of str, optional
        Only these sources.

    Raises
    ------
    SpectrumError
        If the fitter or the function is not known, or there is no redshift, or none with an error.
    CatalogError
        If the file cannot be read, lacks ids, repeats them, or no source has a redshift.
    OutputError
        If the output cannot be written.
    """
    if fitter not in FITTERS:
        raise SpectrumError(unknown("fitter", fitter, FITTERS))
    chosen = FITTERS[fitter]
    function = function or chosen.functions[0]
    if function not in chosen.functions:
        raise SpectrumError(
            f"function '{function}' of the redshift: {fitter} takes {', '.join(chosen.functions)}. "
            "Choose one of these."
        )
    if output.suffix.lower() != chosen.suffix:
        raise OutputError(
            f"{output}: {fitter} reads a file that ends in {chosen.suffix}. Choose this ending."
        )
    check_output(output, [scored])
    found = read_redshifts(scored, options, ids, chosen.whole_numbers)
    with written_beside(output) as beside:
        chosen.write(found, function, beside)
    return WrittenPriors(len(found.known), int(found.known.sum()))


def read_redshifts(
    scored: Path, options: PriorOptions, ids: set[str] | None, whole_numbers: bool
) -> KnownRedshifts:
    """The redshifts of a scored catalog's sources, in its order.

    Raises
    ------
    CatalogError, SpectrumError, SpectrographError
        As `write_for_fitter`; the last if a column of redshifts holds something else.
    """
    with ScoredFile(scored) as file:
        given = options.redshift
        if given is None and not predicts_redshift(file.schema):
            raise SpectrumError(
                f"{scored}: has no predicted redshift 'photoz'. Give --redshift and "
                "--redshift-error, or score with an ensemble that predicts it."
            )
        if given is not None and options.redshift_error is None:
            raise SpectrumError(f"{scored}: {WITHOUT_ERROR}")
        if given is not None:
            with naming(file.path):
                Redshift(given, options.redshift_error or 0.0).check(file.schema)
        name = file.names["source_id"]
        if whole_numbers and exact_id_type(file.schema.field(name), scored) != pa.int64():
            raise CatalogError(
                f"{scored}, column '{name}': holds text, but the fitter's ids are whole numbers "
                "(int64). Give a catalog with the ids of its spectra."
            )
        columns = [PHOTOZ + QUANTILES] if given is None else options.columns
        pieces = []
        for piece in file.tables(list(dict.fromkeys([name, *columns]))):
            names = exact_ids(piece[name], name, scored)
            pieces.append((names, _of(piece, options)))
    source_id = pa.concat_arrays([each[0] for each in pieces]) if pieces else pa.array([])
    values = np.concatenate([each[1] for each in pieces]) if pieces else np.empty((0, 4))
    if repeated := repeated_ids(lambda: [source_id], len(source_id)):
        raise CatalogError(
            f"{scored}, column '{name}': has several rows of the id '{repeated[0]}', and a fitter "
            "takes one prior for each. Keep one of them."
        )
    if ids is not None:
        source_id, values = _chosen(scored, source_id, values, ids)
    known = np.isfinite(values).all(axis=1) & (values[:, 1] > 0)
    known &= (values[:, 0] >= 0) & (values[:, 0] <= HIGHEST)
    if not known.any():
        raise CatalogError(
            f"{scored}: none of its {len(known):,} sources has a redshift with an error. Give "
            "another catalog, or --redshift and --redshift-error."
        )
    reach = ndtri(LEVELS[1]) * BROAD[1]
    broad = np.array([*BROAD, BROAD[0] - reach, BROAD[0] + reach])
    redshift, error, low, high = np.where(known[:, None], values, broad).T
    return KnownRedshifts(
        source_id.to_numpy(zero_copy_only=False), redshift, error, low, high, known
    )


def _of(piece: pa.Table, options: PriorOptions) -> np.ndarray:
    """Redshift, error, and quantiles at `LEVELS` of some rows, shape (N, 4); NaN where unknown."""
    if options.redshift is None:
        knots = matrix(piece[PHOTOZ + QUANTILES])
        posterior = ProxyPosterior((PHOTOZ,), {PHOTOZ: knots}, {})
        middle = np.maximum(posterior.quantile(PHOTOZ, 0.5), 0.0)
        error = posterior.std(PHOTOZ)
        low, high = (posterior.quantile(PHOTOZ, level) for level in LEVELS)
    else:
        middle = of_each(piece, options.redshift, "--redshift")
        error = of_each(piece, options.redshift_error or 0.0, "--redshift-error")
        low, high = (middle + ndtri(level) * error for level in LEVELS)
    return np.stack([middle, error, low, high], axis=1)


def _chosen(
    scored: Path, source_id: pa.Array, values: np.ndarray, ids: set[str]
) -> tuple[pa.Array, np.ndarray]:
    """The rows of some ids, in the catalog's order; all must be there."""
    names = [str(each) for each in source_id.to_pylist()]
    if left := sorted(ids - set(names)):
        more = f", and lacks {len(left) - 1} more of those asked for" if len(left) > 1 else ""
        raise CatalogError(
            f"{scored}: has no source '{left[0]}'{more}. Give ids of this catalog, or a file of "
            "them."
        )
    chosen = np.array([each in ids for each in names])
    return source_id.filter(pa.array(chosen)), values[chosen]
