"""The sources that a scored file and a truth file share, and what can be wrong with either."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.tables.any_format import is_simulated
from targetsel.tables.parquet import read_footer, write_table
from targetsel.tables.types import is_list
from tests.report.sky_by_hand import Sky, lists, sky, with_column

N = 40


@pytest.fixture
def small():
    return sky(N)


def _refusal(made, folder):
    scored, truth = made.write(folder)
    with pytest.raises(CatalogError) as caught:
        LabelledSources.read(scored, truth)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder) + "/", "")


def test_sources_of_both_files_are_found_whatever_their_order(small, tmp_path):
    (tmp_path / "turned").mkdir()
    one = LabelledSources.read(*small.write(tmp_path))
    order = np.arange(N)[::-1]
    small.scored = small.scored.take(order)
    small.truth = small.truth.take(np.random.default_rng(1).permutation(N))
    other = LabelledSources.read(*small.write(tmp_path / "turned")).take(order)
    assert one.source_id.tolist() == other.source_id.tolist() == list(range(1, N + 1))
    assert one.proxies["d4000"].tolist() == other.proxies["d4000"].tolist()
    assert one.scored.equals(other.scored)


def test_what_is_in_one_file_only_or_was_not_predicted_is_counted(small, tmp_path):
    small.truth = small.truth.slice(0, 30)
    small.scored = with_column(
        small.scored.slice(10), "status", pa.array(["lost band: g"] * 5 + ["ok"] * 25)
    )
    known = LabelledSources.read(*small.write(tmp_path))
    assert len(known) == 15
    assert known.left_out == {
        "only in the scored file": 10, "only in the truth": 10, "without a prediction": 5,
    }  # fmt: skip


def test_sources_that_were_not_needed_are_counted_apart_from_those_without_a_prediction(
    small, tmp_path
):
    words = pa.array(["lost band: g"] * 5 + ["not needed"] * 3 + ["ok"] * (N - 8))
    small.scored = with_column(small.scored, "status", words)
    known = LabelledSources.read(*small.write(tmp_path))
    assert known.left_out["without a prediction"] == 5
    assert known.left_out["not needed when scored"] == 3


def test_an_infinite_proxy_is_not_known(small, tmp_path):
    values = small.truth["d4000"].to_numpy().copy()
    values[:3] = [np.nan, np.inf, -np.inf]
    small.truth = with_column(small.truth, "d4000", pa.array(values))
    known = LabelledSources.read(*small.write(tmp_path))
    assert np.isnan(known.proxies["d4000"]).sum() == 3


def test_errors_of_true_latents_widen_their_posterior(small, tmp_path):
    noise = np.full((N, 2), 1.2)
    small.truth = small.truth.append_column("latent_std", lists(noise))
    known = LabelledSources.read(*small.write(tmp_path))
    assert known.noise == pytest.approx(noise)
    posterior = known.posterior().with_noise(known.noise)
    assert posterior.cov[:, 0, 0] == pytest.approx(0.25 + 1.44, rel=1e-5)


def test_groups_and_weights_are_the_truths(small, tmp_path):
    small.truth = with_column(small.truth, "weight", pa.array(np.arange(1.0, N + 1)))
    known = LabelledSources.read(*small.write(tmp_path))
    assert known.weight.tolist() == list(range(1, N + 1))
    assert len(np.unique(known.group)) == known.group_number.max() + 1 == N // 2


def test_no_id_in_common_is_refused(small, tmp_path):
    ids = pa.array(np.arange(1000, 1000 + N))
    small.truth = with_column(small.truth, "source_id", ids)
    assert _refusal(small, tmp_path) == (
        "truth.parquet: none of its 40 ids (the first is '1000') is in known.scored.parquet (the "
        "first there is '1'). Use the same ids in both."
    )


def test_ids_match_whether_they_are_integers_or_text(small, tmp_path):
    one = LabelledSources.read(*small.write(tmp_path))
    small.truth = with_column(small.truth, "source_id", pa.array(map(str, range(1, N + 1))))
    (tmp_path / "words").mkdir()
    other = LabelledSources.read(*small.write(tmp_path / "words"))
    assert one.source_id.tolist() == other.source_id.tolist()
    assert one.proxies["d4000"].tolist() == other.proxies["d4000"].tolist()


def test_ids_that_are_neither_whole_numbers_nor_text_are_refused(small, tmp_path):
    small.truth = with_column(small.truth, "source_id", pa.array(np.arange(1.0, N + 1) + 0.5))
    assert "1.5 is no whole number. Store the ids as int64 or text." in _refusal(small, tmp_path)


@pytest.mark.parametrize(
    "ids",
    [
        pa.array(np.arange(1.0, N + 1)),
        pa.array([f"{each}  " for each in range(1, N + 1)]),
        pa.array([str(each).encode() for each in range(1, N + 1)]),
        pa.array([f"b'{each}'" for each in range(1, N + 1)]),
    ],
)
def test_ids_are_matched_whatever_they_were_kept_in(small, tmp_path, ids):
    small.truth = with_column(small.truth, "source_id", ids)
    assert len(LabelledSources.read(*small.write(tmp_path))) == N


def test_positions_of_both_files_must_agree(small, tmp_path):
    positions = {name: small.scored[name] for name in ("ra", "dec")}
    small.truth = with_column(small.truth, "ra", positions["ra"])
    there = small.truth
    small.truth = with_column(there, "dec", positions["dec"])
    assert len(LabelledSources.read(*small.write(tmp_path))) == N
    small.truth = with_column(there, "dec", pc.negate(positions["dec"]))
    assert "sources are over 60 arcsec from their positions in" in _refusal(small, tmp_path)
    radians = pc.multiply(positions["dec"], np.pi / 180)
    field = pa.field("dec", pa.float64(), metadata={"unit": "rad"})
    small.truth = there.append_column(field, radians)
    assert len(LabelledSources.read(*small.write(tmp_path))) == N


def test_repeated_ids_are_refused(small, tmp_path):
    small.truth = pa.concat_tables([small.truth, small.truth.slice(0, 1)])
    assert _refusal(small, tmp_path) == (
        "truth.parquet, column 'source_id': ids are repeated, such as 1. Keep one row of each "
        "source."
    )


def test_a_truth_without_rows_is_refused(small, tmp_path):
    small.truth = small.truth.slice(0, 0)
    assert _refusal(small, tmp_path) == (
        "truth.parquet: has no rows; expected one for each source of known spectrum."
    )


def test_a_truth_without_ids_is_refused(small, tmp_path):
    small.truth = small.truth.drop_columns(["source_id"])
    assert _refusal(small, tmp_path) == (
        "truth.parquet: no column 'source_id', so it is not a truth file. Such a file holds ids, "
        "and true latents or proxies."
    )


def test_a_truth_that_says_nothing_is_refused(small, tmp_path):
    small.truth = small.truth.select(["source_id", "group_id"])
    assert _refusal(small, tmp_path) == (
        "truth.parquet: neither latents ('latent_mean') nor a proxy such as 'ew_oiii' is among its "
        "columns; encode or measure the spectra first."
    )


def test_a_truth_of_nothing_but_nan_is_refused(small, tmp_path):
    nothing = pa.array(np.full(N, np.nan))
    small.truth = pa.table({"source_id": small.truth["source_id"], "d4000": nothing})
    assert _refusal(small, tmp_path) == (
        "truth.parquet: all 40 sources that were scored have NaN for a truth. Measure their "
        "spectra, or give others."
    )


def test_sources_without_a_prediction_alone_are_refused(small, tmp_path):
    small.scored = with_column(small.scored, "status", pa.array(["no cutout"] * N))
    small.truth = with_column(small.truth, "weight", pa.array(np.ones(N)))
    assert _refusal(small, tmp_path) == (
        "truth.parquet: none of its sources has a prediction (see the column 'status' of the "
        "scored file). Choose others."
    )


def _with_unit(table, name, unit):
    field = pa.field(name, pa.float64(), metadata={"unit": unit})
    return table.set_column(table.column_names.index(name), field, table[name])


def test_a_unit_that_converts_is_converted(small, tmp_path):
    expected = 10 * small.truth["ew_oiii"].to_numpy()
    small.truth = _with_unit(small.truth, "ew_oiii", "nm")
    known = LabelledSources.read(*small.write(tmp_path))
    assert known.proxies["ew_oiii"] == pytest.approx(expected)


@pytest.mark.parametrize("unit", ["s", "nonsense"])
def test_a_unit_that_does_not_convert_is_refused(small, tmp_path, unit):
    small.truth = _with_unit(small.truth, "ew_oiii", unit)
    assert _refusal(small, tmp_path) == (
        f"truth.parquet, column 'ew_oiii': is in '{unit}'; expected 'Angstrom'. Convert it, or "
        "correct the unit that the file declares."
    )


def test_a_proxy_in_words_is_refused(small, tmp_path):
    small.truth = with_column(small.truth, "d4000", pa.array(["old"] * N))
    assert _refusal(small, tmp_path) == (
        "truth.parquet, column 'd4000': holds text; expected numbers. Such a file holds "
        "ids, and true latents or proxies."
    )


def test_latents_of_another_decoder_are_refused(small, tmp_path):
    small.truth = with_column(small.truth, "latent", lists(np.zeros((N, 5))))
    assert _refusal(small, tmp_path) == (
        "truth.parquet, column 'latent': 5 latents, but the ensemble's decoder has 2. Encode the "
        "spectra with it."
    )


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_weights_that_are_no_counts_are_refused(small, tmp_path, bad):
    weight = np.ones(N)
    weight[3] = bad
    small.truth = with_column(small.truth, "weight", pa.array(weight))
    assert _refusal(small, tmp_path) == (
        "truth.parquet, column 'weight': expected numbers from 0 up, some above 0; 1 are not. "
        "Correct them, or drop the column."
    )


def test_a_catalog_that_was_not_scored_is_refused(small, tmp_path):
    for names, missing in (
        (["source_id", "ra", "dec", "rmag"], "_healpix_29"),
        (["source_id", "ra", "dec", "_healpix_29", "rmag"], "status"),
        (["source_id", "ra", "dec", "_healpix_29", "status"], "<proxy>_quantiles"),
    ):
        other = Sky(small.scored.select(names), small.truth)
        assert f"no column '{missing}', so it is not a scored catalog" in _refusal(other, tmp_path)


def test_a_missing_truth_is_refused(small, tmp_path):
    scored, truth = small.write(tmp_path)
    truth.unlink()
    with pytest.raises(CatalogError, match=r"truth\.parquet: no such file"):
        LabelledSources.read(scored, truth)


def test_a_truth_cut_short_is_refused(small, tmp_path):
    scored, truth = small.write(tmp_path)
    truth.write_bytes(truth.read_bytes()[:300])
    with pytest.raises(CatalogError, match="not a Parquet file, or damaged or cut short"):
        LabelledSources.read(scored, truth)


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_ids_as_text_of_any_encoding_match(small, tmp_path, kind):
    texts = pa.array([str(each) for each in small.truth["source_id"].to_pylist()])
    texts = texts.dictionary_encode() if pa.types.is_dictionary(kind) else texts.cast(kind)
    small.truth = with_column(small.truth, "source_id", texts)
    assert len(LabelledSources.read(*small.write(tmp_path))) == N


def test_latents_that_are_all_nan_are_not_known_whatever_their_number(small, tmp_path):
    small.truth = with_column(small.truth, "latent_mean", lists(np.full((N, 3), np.nan)))
    known = LabelledSources.read(*small.write(tmp_path))
    assert np.isnan(known.latents).all()
    assert known.latents.shape == known.noise.shape


def test_a_unit_that_is_no_text_is_refused(small, tmp_path):
    place = small.truth.column_names.index("ew_halpha")
    field = small.truth.schema.field("ew_halpha").with_metadata({b"unit": b"\xff"})
    small.truth = small.truth.set_column(place, field, small.truth["ew_halpha"])
    assert "column 'ew_halpha': is in '\ufffd'; expected 'Angstrom'" in _refusal(small, tmp_path)


def test_a_truth_damaged_within_is_refused(small, tmp_path):
    scored, truth = small.write(tmp_path)
    whole = bytearray(truth.read_bytes())
    whole[4:400] = bytes(396)
    truth.write_bytes(whole)
    with pytest.raises(CatalogError, match=r"truth\.parquet: .* damaged or cut short \("):
        LabelledSources.read(scored, truth)


def test_a_scored_file_with_a_column_twice_is_refused(small, tmp_path):
    scored, truth = small.write(tmp_path)
    table = pq.read_table(scored)
    pq.write_table(table.append_column("d4000", table["d4000"]), scored)
    with pytest.raises(CatalogError, match=r"has several columns 'd4000'\. Rename or drop one\.$"):
        LabelledSources.read(scored, truth)


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "ecsv", "vot", "csv"])
def test_a_truth_file_may_be_of_any_format(small, tmp_path, ending):
    scored, truth = small.write(tmp_path)
    plain = LabelledSources.read(scored, truth)
    table, other = pq.read_table(truth), tmp_path / f"truth.{ending}"
    if ending == "csv":  # holds no lists
        table = table.select([each.name for each in table.schema if not is_list(each.type)])
    write_table(table, other, read_footer(truth))
    known = LabelledSources.read(scored, other)
    assert known.source_id.tolist() == plain.source_id.tolist()
    assert known.weight.tolist() == plain.weight.tolist()
    for name, values in plain.proxies.items():
        assert known.proxies[name] == pytest.approx(values, rel=1e-6, nan_ok=True)
    if ending != "csv":
        assert known.latents == pytest.approx(plain.latents, rel=1e-6)
        assert is_simulated(other) == is_simulated(truth)
