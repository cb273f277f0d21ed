"""Embeddings: what an ensemble's networks see in each source, as vectors."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from targetsel.api.given import AnyCutouts, AnyEnsemble, AnyPath, ensemble_of
from targetsel.api.images import as_store, usual_cutouts
from targetsel.remote.copies import with_addresses
from targetsel.scoring import DEFAULT
from targetsel.tables.any_form import AnyTable


@with_addresses("output")
def embed(
    catalog: AnyTable,
    cutouts: AnyCutouts | None = None,
    ensemble: AnyEnsemble = DEFAULT,
    output: AnyPath = "embeddings.parquet",
    *,
    embeddings: AnyTable | None = None,
    threads: int = 1,
    device: str = "cpu",
    ra_col: str | None = None,
    dec_col: str | None = None,
    id_col: str | None = None,
) -> dict[str, int]:
    """Write the features of an ensemble's networks as vectors, as `targetsel embed` does.

    Sources that look alike to the networks have vectors that are near each other.

    Parameters
    ----------
    catalog : str, Path, Catalog or table of astropy, pandas, polars, Arrow or numpy
        Sources with ids and positions [deg, ICRS].
    cutouts : str, Path, CutoutStore, Folder or Cutouts, optional
        As of `score`.
    ensemble : str, Path or Ensemble
        A folder, the name of a shipped one, or one that was read.
    output : str or Path
        Table to write, with the columns ``source_id``, ``embedding`` and ``status``, in the order
        of the catalog: the features of all networks, one behind the other.
    embeddings : str, Path or table, optional
        The vectors that the ensemble itself takes, if it does.
    threads : int
        Worker threads; the result does not depend on them.
    device : str
        Device of the networks where the ensemble is read here: "cpu" or "cuda".
    ra_col, dec_col, id_col : str, optional
        Names of columns that are not found by themselves.

    Returns
    -------
    dict of int
        The number of sources by status; those that are not "ok" have no vector.

    Raises
    ------
    CatalogError
        If the catalog cannot be read, has no column of ids or positions, or repeats an id.
    CutoutError
        If there are no cutouts, or they do not suit the ensemble.
    EnsembleError
        If there is no such ensemble, or its folder is damaged.
    OutputError
        If `output` cannot be written, or is a file that is read here.

    See Also
    --------
    train : Takes such a file, of this ensemble or of any other model.
    score : Predicts what the features mean.

    Examples
    --------
    >>> import targetsel as ts
    >>> statuses = ts.embed("catalog.parquet", "cutouts", "mock-ps1", "features.parquet")
    >>> statuses["ok"] > 0
    True
    """
    from targetsel.embeddings.file import Embeddings
    from targetsel.networks.inputs import InputsById
    from targetsel.scoring.embed import embed as write
    from targetsel.sky.catalog import CatalogFile

    sources = CatalogFile.open(catalog, ra_col, dec_col, id_col)
    network = ensemble_of(ensemble, device, calibrated=False)
    if cutouts is None and network.inputs.cutouts is not None:
        cutouts = usual_cutouts(sources)
    vectors = None
    if embeddings is not None:
        vectors = Embeddings.open(embeddings, network.inputs.column)
    images: Any = contextlib.nullcontext() if cutouts is None else as_store(cutouts, sources)
    with images as store:
        return write(sources, InputsById(store, vectors), network, Path(output), threads)
