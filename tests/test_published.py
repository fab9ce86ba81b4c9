"""The published numbers against the papers."""

from __future__ import annotations

import pytest

from mer.errors import ParameterError
from mer.papers.audit import impossible_rows
from mer.papers.published import PAPERS, published, published_value

# Cells with a value, counted in the papers' tables.
CELLS = {
    "zhu2023": {"1": 12, "2": 14, "3": 9, "4": 15},
    "zhao2023": {"I": 18, "II": 4, "III": 15},
    "deberardinis2020": {"1": 42, "2": 44},
    "sun2024": {"1": 33, "2": 40, "3": 39},
}


def test_every_cell_of_every_table_is_there() -> None:
    found = {
        paper: published(paper).groupby("table", sort=False).size().to_dict() for paper in PAPERS
    }
    assert found == CELLS


@pytest.mark.parametrize("paper", PAPERS)
def test_cells_are_unique_and_complete(paper: str) -> None:
    cells = published(paper)
    assert list(cells.columns) == ["table", "row", "column", "value", "number", "note"]
    assert not cells.duplicated(["table", "row", "column"]).any()
    keys = cells[["table", "row", "column", "value"]]
    assert (keys == keys.apply(lambda column: column.str.strip())).all(axis=None)
    assert (keys != "").all(axis=None)


# Most other values stand on a golden page.
@pytest.mark.parametrize(
    ("paper", "table", "row", "column", "value"),
    [
        ("zhu2023", "1", "conv2", "Channel", 128),
        ("zhu2023", "2", "MT-MIDIBERT", "4Q", 0.676),
        ("zhu2023", "3", "proposed model", "4Q", 0.708),
        ("zhu2023", "4", "STFT-input", "A", 0.804),
        ("zhao2023", "I", "Ours", "Valence", 0.869),
        ("zhao2023", "II", "QM-MidiBERT", "4Q Accuracy", 0.719),
        ("zhao2023", "III", "Without MHSA", "Valence", 0.753),
        ("deberardinis2020", "1", "C1D", "# params", 86354),
        ("deberardinis2020", "1", "C2D", "# params", 37698),
        ("deberardinis2020", "1", "C1D-V", "R2 V", 0.1131),
        ("deberardinis2020", "2", "EmoMucs-C2D freeze", "Late R2 V", 0.4814),
        ("sun2024", "1", "PMEmo", "#Song", 767),
        ("sun2024", "1", "PMEmo 1", "#Segment", 22945),
        ("sun2024", "1", "4Q 3", "#Segment", 25135),
        ("sun2024", "1", "EiM 5", "#Segment", 25971),
        ("sun2024", "1", "EiM 5", "Overlap", 4),
        ("sun2024", "2", "PMEmo 3", "Valence Acc.", 83.19),
        ("sun2024", "2", "PMEmo 1", "Arousal F1", 86.61),
        ("sun2024", "2", "4Q 5", "Arousal F1", 86.51),
        ("sun2024", "3", "PMEmo SVM", "A-acc", 71.49),
        ("sun2024", "3", "4Q SVM", "F1", 76.41),
        ("sun2024", "3", "4Q Proposed", "V-acc", 77.20),
        ("sun2024", "3", "EiM Proposed", "F1", 75.34),
    ],
)
def test_values_of_the_papers(paper: str, table: str, row: str, column: str, value: float) -> None:
    assert published_value(paper, table, row, column) == value


def test_scores_are_in_range() -> None:
    tables = {"zhu2023": ("2", "3", "4"), "zhao2023": ("I", "II", "III")}
    for paper, names in tables.items():
        for name in names:
            assert published(paper, name)["number"].between(0.5, 0.95).all()
    for name in ("2", "3"):
        assert published("sun2024", name)["number"].between(65, 90).all()
    scores = published("deberardinis2020").query("column != '# params'")["number"]
    assert scores.between(0.1, 0.65).all()


def test_rmse_and_r2_of_a_cell_agree() -> None:
    cells = published("deberardinis2020").query("column != '# params'").copy()
    cells[["metric", "target"]] = cells["column"].str.extract(r"(RMSE|R2) ([VA])$")
    cells["fusion"] = cells["column"].str.extract(r"^(Early|Mid|Late)").fillna("")
    pairs = cells.pivot_table("number", ["table", "row", "fusion", "target"], "metric")
    # 1 - R2 = RMSE^2 / variance of the target, which no system changes
    variance = (pairs["RMSE"] ** 2 / (1 - pairs["R2"])).groupby("target")
    assert len(pairs) == 42
    assert variance.max().to_numpy() == pytest.approx(variance.min().to_numpy(), rel=0.02)
    assert variance.mean()["V"] == pytest.approx(0.104, abs=0.001)
    assert variance.mean()["A"] == pytest.approx(0.135, abs=0.001)


@pytest.mark.parametrize(
    ("paper", "names"), [("zhu2023", ("4Q", "A", "V")), ("zhao2023", ("4Q", "Arousal", "Valence"))]
)
def test_rows_that_no_single_answer_can_give_are_noted(
    paper: str, names: tuple[str, str, str]
) -> None:
    cells = published(paper)
    wide = cells.pivot_table("number", ["table", "row"], "column")[list(names)].dropna()
    quadrant, arousal, valence = (wide[name] for name in names)
    impossible = set(wide.index[quadrant < arousal + valence - 1])
    noted = cells[cells["note"].str.contains("cannot come from the same answers")]
    assert set(zip(noted["table"], noted["row"], strict=True)) == impossible
    assert set(noted["column"]) == {"4Q"}


def test_segment_counts_that_steps_of_one_second_cannot_give_are_noted() -> None:
    cells = published("sun2024", "1")
    segments = cells[cells["column"] == "#Segment"]
    for dataset in ("PMEmo", "4Q", "EiM"):
        own = segments[segments["row"].str.startswith(f"{dataset} ")]
        lost = -own["number"].diff()
        songs = published_value("sun2024", "1", dataset, "#Song")
        assert own["note"].str.contains("at most one segment").tolist() == (lost > songs).tolist()


def test_best_rows_stand_for_the_same_system_in_each_table() -> None:
    for task in ("4Q", "A", "V"):
        proposed = {published_value("zhu2023", t, "proposed model", task) for t in ("2", "3", "4")}
        assert len(proposed) == 1
    for task in ("4Q", "Arousal", "Valence"):
        assert published_value("zhao2023", "I", "Ours", task) == published_value(
            "zhao2023", "III", "Full model", task
        )


def test_settings_stay_text_and_digits_are_kept() -> None:
    settings = published("zhu2023", "1").set_index(["row", "column"])
    assert settings.loc[("conv1", "Kernel Size"), "value"] == "3x3"
    first = published("deberardinis2020", "1").set_index(["row", "column"])
    assert first.loc[("C1D-M", "RMSE V"), "value"] == "0.2600"


def test_a_caller_cannot_change_the_published_numbers() -> None:
    cells = published("zhu2023")
    cells["number"] = 0.0
    assert published_value("zhu2023", "2", "proposed model", "4Q") == 0.708


def test_unknown_names_are_named() -> None:
    with pytest.raises(ParameterError, match="unknown paper 'zhu2024'; the papers are: zhu2023"):
        published("zhu2024")
    with pytest.raises(ParameterError, match="zhao2023 has no table '1'; it has: I, II, III"):
        published("zhao2023", "1")
    with pytest.raises(ParameterError, match="no value in row 'MIDIBERT', column 'A'"):
        published_value("zhu2023", "2", "MIDIBERT", "A")
    with pytest.raises(ParameterError, match="'3x3', not a number"):
        published_value("zhu2023", "1", "conv1", "Kernel Size")


def test_rows_that_cannot_come_from_one_model_count_once() -> None:
    short, n_rows = impossible_rows()
    assert (len(short), n_rows) == (6, 15)
    assert (
        short.loc["LSTM-Attn+MIDI-like", "tables"]
        == "Zhao and Yoshii 2023, table I; Zhu et al. 2023, table 2"
    )
    assert short.loc["proposed model", "tables"] == (
        "Zhu et al. 2023, table 2; Zhu et al. 2023, table 3; Zhu et al. 2023, table 4"
    )
    assert short.loc["proposed model", "A + V - 1"] == pytest.approx(0.743)
