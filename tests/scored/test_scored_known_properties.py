"""What holds of known spectra whatever the files hold: compared with a search of all pairs."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import targetsel as ts
from targetsel.scored import known_search
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_match import KnownSpectra, add_known
from targetsel.sky.positions import healpix_of, separation

PLAIN = """schema: targetsel/rules/v1
name: all
classes:
  EVERY:
    bit: 0
    priority: 1
    where: [rmag < 30]
"""
# Places on a grid of 0.4 arcsec, so that many are equally far from each other.
PLACES = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=25)


def positions(places):
    x, y = np.array(places, dtype=float).reshape(-1, 2).T * 0.4 / 3600
    return 10 + x, y - 0.0004


def catalog_at(places, seed):
    ra, dec = positions(places)
    ids = np.random.default_rng(seed).permutation(len(ra)) + 1
    columns = {
        "ra": ra,
        "dec": dec,
        "_healpix_29": healpix_of(ra, dec),
        "rmag": np.full(len(ra), 20.0),
    }
    return pa.table({"source_id": ids, **columns}).sort_by("_healpix_29")


def spectra_at(places, failed):
    ra, dec = positions(places)
    return pa.table({"RA": ra, "DEC": dec, "Z": np.linspace(0.1, 0.2, len(ra)), "ZWARN": failed})


def by_all_pairs(catalog, spectra):
    """Ids of the sources that each spectrum belongs to: the nearest, of these the least id."""
    ids, found = catalog["source_id"].to_numpy(), []
    ours = catalog["ra"].to_numpy(), catalog["dec"].to_numpy()
    for k in range(len(spectra)):
        theirs = (np.full(len(ids), spectra[name][k].as_py()) for name in ("RA", "DEC"))
        sep = np.round(separation(*ours, *theirs) * 3600, 5)
        near = np.lexsort([ids, sep])[0]
        found.append(int(ids[near]) if sep[near] <= 1 else None)
    return found


@settings(max_examples=60, deadline=None)
@given(PLACES, PLACES, st.integers(0, 99), st.data())
def test_a_spectrum_belongs_to_the_nearest_source_of_the_least_id(sources, taken, seed, data):
    catalog = catalog_at(sources, seed)
    failed = data.draw(st.lists(st.sampled_from([0, 4]), min_size=len(taken), max_size=len(taken)))
    spectra = spectra_at(taken, failed)
    expected = by_all_pairs(catalog, spectra)
    with ScoredFile(catalog) as file:
        found = add_known(file, KnownSpectra((spectra,)))
        rows = pa.concat_tables(file.tables()).to_pydict()
    known = {each for each, bad in zip(expected, failed, strict=True) if each and not bad}
    warned = {each for each in expected if each} - known
    ids = np.array(rows["source_id"])
    assert set(ids[rows["known"]]) == known
    assert set(ids[rows["known_warning"]]) == warned
    assert found.files[0].n_by_position == sum(each is not None for each in expected)


@settings(max_examples=25, deadline=None)
@given(PLACES, PLACES, st.integers(0, 99))
def test_a_list_offers_no_source_that_a_spectrum_without_warning_belongs_to(sources, taken, seed):
    catalog, spectra = catalog_at(sources, seed), spectra_at(taken, [0] * len(taken))
    known = {each for each in by_all_pairs(catalog, spectra) if each}
    targets = ts.select(catalog, PLAIN, known=spectra)
    offered = targets["source_id"].tolist()
    assert set(offered) == set(catalog["source_id"].to_pylist()) - known
    assert len(offered) == len(set(offered))
    # What was taken of this list leaves nothing of it to offer again.
    again = pa.table({"ra": targets["ra"], "dec": targets["dec"], "source_id": offered})
    both = [spectra, again] if offered else spectra
    assert len(ts.select(catalog, PLAIN, known=both)) == 0


def test_matches_do_not_depend_on_how_many_sources_pass_at_a_time(monkeypatch):
    rng = np.random.default_rng(5)
    catalog = catalog_at(rng.integers(0, 60, (2000, 2)), 3)
    spectra = spectra_at(rng.integers(0, 60, (1500, 2)), rng.integers(0, 2, 1500))
    whole = _matched(catalog, 65_536)
    assert 100 < whole(spectra)[0].n_known < 1500
    monkeypatch.setattr(known_search, "_AT_ONCE", 10)
    assert _matched(catalog, 7)(spectra) == whole(spectra)


def _matched(catalog, rows):
    def matched(spectra):
        with ScoredFile(catalog) as file:
            tables = file.tables
            file.tables = lambda *names, **more: tables(*names, **{**more, "rows": rows})
            found = add_known(file, KnownSpectra((spectra,)))
            return found, pa.concat_tables(tables()).to_pydict()

    return matched
