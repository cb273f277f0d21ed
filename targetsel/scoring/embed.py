"""The features of an ensemble's networks as a file of embeddings, for a catalog of any size.

Sources that look alike to the networks have features that are alike: for clustering, for the
search of similar ones, or for other networks to be trained on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.embeddings.columns import rows_of_vectors, schema_of_vectors
from targetsel.embeddings.file import MODEL
from targetsel.errors import OutputError
from targetsel.networks.inputs import OTHER_BANDS, AnyStore, InputsById
from targetsel.scoring.ensemble import Ensemble
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.tables.any_form import paths_in
from targetsel.tables.files import check_table_output, table_format
from targetsel.tables.parquet import SIMULATED, ParquetSink
from targetsel.tasks import task
from targetsel.version import __version__
from targetsel.workers.pool import map_bounded

SOURCES_AT_ONCE = 256
ROWS_PER_GROUP = 4096


def embed(
    catalog: CatalogFile, given: AnyStore, ensemble: Ensemble, output: Path, threads: int = 1
) -> dict[str, int]:
    """Write the features of a catalog's sources, in its order.

    Parameters
    ----------
    given : CutoutStore or InputsById
        What the ensemble takes.
    threads : int
        Worker threads; the result does not depend on them.

    Returns
    -------
    dict of int
        The number of sources by status.

    Raises
    ------
    CatalogError, CutoutError, EnsembleError, OutputError
        Nothing is left under `output` then.
    """
    import torch

    output, store = Path(output), InputsById.of(given)
    if table_format(output) == "ascii.csv":
        raise OutputError(
            f"{output}: CSV has no place for lists of numbers. Choose another ending, such as "
            ".parquet."
        )
    check_table_output(output, (*paths_in([catalog]), *store.paths))
    ensemble.inputs.check(store, ensemble.name, OTHER_BANDS)
    length = len(ensemble.networks) * ensemble.networks[0].head.in_features
    ids = catalog.schema.field(catalog.columns["source_id"]).type
    schema = schema_of_vectors(length, ids)

    def rows_of(piece: Catalog) -> pa.Table:
        inputs = store.seen(piece, ensemble.inputs, catalog.path)
        features = ensemble.features(inputs)
        vectors = features.transpose(1, 0, 2).reshape(len(piece), length)
        own = piece.table[catalog.columns["source_id"]].combine_chunks()
        return rows_of_vectors(own, vectors.astype(np.float32), inputs.status, schema)

    statuses: dict[str, int] = {}
    one = torch.set_num_threads  # so that sums do not change with the number of threads
    one(1)
    with (
        ParquetSink(output, schema, ROWS_PER_GROUP) as sink,
        task("embedding", catalog.num_rows, "sources") as advance,
    ):
        pieces = catalog.batches(SOURCES_AT_ONCE)
        for rows in map_bounded(rows_of, pieces, threads, initializer=one, initargs=(1,)):
            sink.write(rows)
            advance(rows.num_rows)
            for status in rows["status"].to_pylist():
                statuses[status] = statuses.get(status, 0) + 1
        sink.footer.update(
            {
                "targetsel": __version__,
                MODEL: f"{ensemble.name} ({ensemble.sha256[:12]})",
                **store.provenance,
                **(SIMULATED if store.simulated else {}),
                "statuses": dict(sorted(statuses.items())),
            }
        )
    return statuses
