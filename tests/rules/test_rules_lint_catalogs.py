"""Advice on rules beside catalogs without scores, and on columns that `observe` adds."""

import pytest

import targetsel as ts
from targetsel.errors import CatalogError, RuleError

CATALOG = "source_id,ra,dec,gmag,rmag,kind\n" + "".join(
    f"{k},{10 + 0.1 * k},0.5,{20 + 0.01 * k},{19.5 + 0.01 * k},{'GALAXY' if k % 2 else 'STAR'}\n"
    for k in range(20)
)


def rules(folder, *conditions):
    where = "".join(f"      - {each}\n" for each in conditions)
    path = folder / "rules.yaml"
    path.write_text(
        "schema: targetsel/rules/v1\nname: a\nclasses:\n  A:\n    priority: 1\n    where:\n" + where
    )
    return path


@pytest.fixture
def catalog(tmp_path):
    path = tmp_path / "catalog.csv"
    path.write_text(CATALOG)
    return path


def test_cuts_that_select_takes_are_taken_by_lint(tmp_path, catalog):
    path = rules(tmp_path, "gmag - rmag > 0.4", "rmag < 19.6", "kind == 'GALAXY'")
    assert not ts.lint_rules(path, catalog)
    assert len(ts.select(catalog, path)) == 5


def test_names_and_texts_that_an_unscored_catalog_lacks_are_told(tmp_path, catalog):
    found = ts.lint_rules(rules(tmp_path, "gmagg < 20", "kind == 'QSO'"), catalog)
    assert [str(each).split(": ", 2)[2] for each in found.errors] == [
        "unknown column 'gmagg'. Did you mean 'gmag' or 'rmag'?"
    ]
    assert any("QSO" in str(each) for each in found.remarks)


def test_a_probability_in_an_unscored_catalog_asks_for_scores(tmp_path, catalog):
    found = ts.lint_rules(rules(tmp_path, "P(ew_halpha > 5 Angstrom) >= 0.5"), catalog)
    assert "score the catalog first" in str(found.errors[0])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.csv", None, "no such file"),
        ("z.csv", "source_id,redshift\n1,0.1\n", "no column of right ascension"),
        ("empty.csv", "", "is empty"),
    ],
)
def test_what_is_no_catalog_is_told_as_by_select(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(CatalogError, match=message):
        ts.lint_rules(rules(tmp_path, "rmag < 20"), tmp_path / name)


@pytest.mark.parametrize(
    "condition",
    [
        "P(snr_halpha > 5 and ew_halpha > 10 Angstrom) >= 0.5",
        "P(exposure_time_oiii < 30 min) >= 0.5",
        "in_range_halpha > 0.9",
        "clear_of_sky_oii > 0.5",
    ],
)
def test_columns_of_observe_need_no_catalog_to_be_known(tmp_path, condition):
    path = rules(tmp_path, "typicality > 0.01", condition)
    assert not ts.lint_rules(path)


def test_a_misspelt_column_of_observe_is_told(tmp_path):
    found = ts.lint_rules(rules(tmp_path, "in_range_halpa > 0.9"))
    assert "Did you mean 'in_range_halpha'" in str(found.remarks[0])


def test_a_flux_without_a_unit_says_how_to_give_one(tmp_path):
    catalog = tmp_path / "fluxes.csv"
    catalog.write_text("source_id,ra,dec,f_g\n1,10,1,3631\n2,11,1,36310\n")
    with pytest.raises(RuleError) as caught:
        ts.select(catalog, rules(tmp_path, "mag(f_g) < 21"))
    step = "if it holds such numbers, write mag(f_g * 1 nJy); CSV keeps no units"
    assert step in str(caught.value)
    targets = ts.select(catalog, rules(tmp_path, "mag(f_g * 1 nJy) < 21"))
    assert targets["source_id"].tolist() == [2]  # 3631 nJy are 22.5 mag
