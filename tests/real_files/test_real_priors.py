"""Files of priors, scored catalogs and ids, as other tools leave them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from targetsel.errors import CatalogError, SpectrumError
from targetsel.priors.files import PriorFile
from targetsel.priors.update import UpdateOptions, update_files
from targetsel.priors.writing import (
    PriorOptions,
    ScoredPosteriors,
    read_ids,
    write_fits,
    write_parquet,
)
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.grid import wavelengths
from targetsel.tables.parquet import read_footer, write_table
from tests.cli.test_cli_priors import LATENTS, folder  # noqa: F401

OPTIONS = PriorOptions("photoz", "photoz_err", n_draws=2)
FEW = UpdateOptions(n_proposed=64, n_draws=16)


@pytest.fixture
def written(folder):  # noqa: F811
    """The folder, with `priors.parquet` of sources 10 to 14."""
    write_parquet(ScoredPosteriors.open(folder / "scored.parquet", "tiny", OPTIONS),
                  folder / "priors.parquet")  # fmt: skip
    return folder


def replaced(path, name, values):
    """Replace a column of a file, as another tool would that keeps the metadata."""
    table = pq.read_table(path)
    place = table.schema.get_field_index(name)
    if isinstance(values, pa.DataType):
        values = table[name].cast(values)
    field = pa.field(name, values.type, metadata=table.schema.field(name).metadata)
    table = table.set_column(place, field, values)
    pq.write_table(table, path)
    return path


def spectra(path, ids, **more):
    """Spectra of source 11, decoded from its own latents, under these ids."""
    latents = pq.read_table(path / "scored.parquet")["member_mean"].to_pylist()[1][:LATENTS]
    flux = Decoder.read(path / "tiny").decode(np.array(latents)[None, None]).flux[0, 0]
    n = len(ids)
    columns = {
        "source_id": ids,
        "wavelength": [wavelengths() * 1.12] * n,
        "flux": [flux.astype(float)] * n,
        "ivar": [np.full(1000, (0.05 * flux.std()) ** -2.0)] * n,
    }
    pq.write_table(pa.table(columns | more), path / "spectra.parquet")
    return [path / "spectra.parquet"]


@pytest.mark.parametrize(
    "column",
    [
        ("source_id", pa.string()),
        ("source_id", pa.string_view()),
        ("source_id", pa.binary()),
        ("source_id", pa.float64()),
        ("source_id", pa.dictionary(pa.int32(), pa.int64())),
        ("latent_mean", pa.list_(pa.float64())),
        ("latent_factor", pa.large_list(pa.float32())),
        ("status", pa.large_string()),
    ],
    ids=str,
)
def test_priors_in_other_types_are_the_same(column, written):
    before = PriorFile.open(written / "priors.parquet", "tiny").prior(11)
    name, kind = column
    values = kind
    if pa.types.is_dictionary(kind):
        values = pq.read_table(written / "priors.parquet")[name].dictionary_encode()
    elif kind == pa.binary():
        values = pq.read_table(written / "priors.parquet")[name].cast(pa.string()).cast(kind)
    found = PriorFile.open(replaced(written / "priors.parquet", name, values), "tiny").prior(11)
    assert str(found.source_id) == "11"
    np.testing.assert_array_equal(found.latents.mean, before.latents.mean)
    np.testing.assert_array_equal(found.latents.factor, before.latents.factor)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("latent_weight", lambda row: None),
        ("latent_weight", lambda row: [0.0 for _ in row]),
        ("latent_weight", lambda row: [-1.0, 2.0]),
        ("latent_mean", lambda row: row[:-1]),
        ("latent_mean", lambda row: [float("nan"), *row[1:]]),
        ("latent_factor", lambda row: [0.0, *row[1:]]),
        ("latent_factor", lambda row: [None, *row[1:]]),
    ],
)
def test_damaged_prior_is_named(name, damage, written):
    path = written / "priors.parquet"
    rows = pq.read_table(path)[name].to_pylist()
    rows[1] = damage(rows[1])
    replaced(path, name, pa.array(rows, pa.list_(pa.float32())))
    priors = PriorFile.open(path, "tiny")
    assert priors.prior(10)
    with pytest.raises(SpectrumError, match=r"the latents of the source '11' are damaged\. Write"):
        priors.prior(11)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("source_id", pa.array([10, 11, 11, 13, 14]), "has two priors of the source '11'. Keep"),
        ("latent_mean", pa.array([1.0] * 5), "column 'latent_mean': holds numbers; expected"),
        ("status", pa.array([1] * 5), "column 'status': holds whole numbers; expected text"),
    ],
)
def test_file_of_priors_with_other_columns_is_refused(name, values, message, written):
    with pytest.raises(CatalogError, match=message):
        PriorFile.open(replaced(written / "priors.parquet", name, values), "tiny")


@pytest.mark.parametrize("kind", ["dictionary", "quoted"])
def test_ids_of_a_scored_catalog_are_exact_in_its_priors(kind, written):
    path = written / "scored.parquet"
    footer, table = read_footer(path), pq.read_table(path)
    ids = table["source_id"].combine_chunks()
    text = ids.cast(pa.string())
    other = {
        "dictionary": ids.dictionary_encode(),
        "quoted": pa.array([f"b'{each}'" for each in text.to_pylist()]),
    }[kind]
    write_table(table.set_column(0, "source_id", other), path, footer)
    scored = ScoredPosteriors.open(path, "tiny", OPTIONS)
    write_parquet(scored, written / "again.parquet", {"11", "12"})
    found = pq.read_table(written / "again.parquet")["source_id"].to_pylist()
    assert found == ([11, 12] if kind == "dictionary" else ["11", "12"])


def test_source_whose_posterior_is_missing_has_no_prior_and_says_so(written):
    path = written / "scored.parquet"
    footer, table = read_footer(path), pq.read_table(path)
    place = table.schema.get_field_index("member_mean")
    rows = table["member_mean"].to_pylist()
    rows[0] = None
    kind = table.schema.field(place)
    write_table(table.set_column(place, kind, pa.array(rows, kind.type)), path, footer)
    found = write_parquet(ScoredPosteriors.open(path, "tiny", OPTIONS), written / "a.parquet")
    assert (found.n_sources, found.n_priors) == (5, 2)
    assert (
        pq.read_table(written / "a.parquet")["status"][0].as_py()
        == "its posterior is missing or damaged"
    )


def test_catalog_without_any_prior_is_refused_and_nothing_is_left(written):
    path = written / "scored.parquet"
    footer, table = read_footer(path), pq.read_table(path)
    place = table.schema.get_field_index("photoz")
    write_table(table.set_column(place, "photoz", pa.array([70.0] * 5)), path, footer)
    scored = ScoredPosteriors.open(path, "tiny", OPTIONS)
    before = sorted(written.iterdir())
    message = r"scored.parquet: none of its 5 sources has a prior \(photoz is 70, expected 0 to 10"
    for write, name in ((write_parquet, "x.parquet"), (write_fits, "x")):
        with pytest.raises(CatalogError, match=message):
            write(scored, written / name)
    assert sorted(written.iterdir()) == before


def test_fits_files_are_written_for_any_id(written):
    path = written / "scored.parquet"
    footer, table = read_footer(path), pq.read_table(path)
    table = table.set_column(0, "source_id", pa.array(["é 1", "a/b", "c", "d", "e"]))
    write_table(table, path, footer)
    write_fits(ScoredPosteriors.open(path, "tiny", OPTIONS), written / "priors")
    names = {each.name for each in (written / "priors").iterdir()}
    assert names == {"prior-%C3%A9%201.fits", "prior-a%2Fb.fits", "prior-c.fits"}
    header = fits.getheader(written / "priors" / "prior-%C3%A9%201.fits")
    assert header["SRCID"] == r"\xe9 1"
    assert header["DEC"] == 2.0


def test_scored_sources_without_a_position_are_refused(written):
    path = written / "scored.parquet"
    footer, table = read_footer(path), pq.read_table(path)
    place = table.schema.get_field_index("ra")
    write_table(table.set_column(place, "ra", pa.array([np.nan] * 5)), path, footer)
    with pytest.raises(CatalogError, match="column 'ra': 5 of 5 sources have none"):
        write_fits(ScoredPosteriors.open(path, "tiny", OPTIONS), written / "priors")


@pytest.mark.parametrize(
    ("ra", "dec", "good"),
    [(151.0, 2.0, True), (151.001, 2.0, True), (151.0, -2.0, False), (10.07, 2.0, False),
     (None, 2.0, True)],
)  # fmt: skip
def test_spectrum_from_another_place_is_not_combined_with_the_prior(ra, dec, good, written):
    files = spectra(written, [11, 11], ra=pa.array([151.0, ra]), dec=[2.0, dec])
    priors = PriorFile.open(written / "priors.parquet", "tiny")
    found = update_files(priors, files, written / "out.parquet", options=FEW)
    assert (found.n_spectra, len(found.errors)) == (2, 0 if good else 1)
    (first, second) = pq.read_table(written / "out.parquet")["status"].to_pylist()
    assert (first, second == "ok") == ("ok", good)
    if not good:
        assert "spectra.parquet, row 1: 1 of 1 sources are over 60 arcsec from" in second
        assert second.endswith("Check the signs and units of both, or join files of one survey.")


def test_spectrum_is_found_by_its_id_as_text_or_number(written):
    priors = PriorFile.open(written / "priors.parquet", "tiny")
    results = []
    for ids in ([11], ["11"], [b"11 "], [11.0]):
        update_files(priors, spectra(written, ids), written / "out.parquet", options=FEW)
        results.append(pq.read_table(written / "out.parquet").to_pylist())
    assert all(rows == results[0] for rows in results)


def test_ids_come_from_a_file_as_a_spreadsheet_writes_it(tmp_path):
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbf10\r\n\r\n11 \r\n")
    assert read_ids(str(tmp_path / "ids.txt")) == {"10", "11"}
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe1\x000\x00")
    with pytest.raises(CatalogError, match=r"ids.txt: not UTF-8 text"):
        read_ids(str(tmp_path / "ids.txt"))
    (tmp_path / "ids.txt").write_bytes(b"\n\n")
    with pytest.raises(CatalogError, match="holds no ids; expected one on each line"):
        read_ids(str(tmp_path / "ids.txt"))
