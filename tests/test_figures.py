"""Figures and tables of the notebooks: what they show, and that all look alike."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mer.clips import Clip, Corpus
from mer.errors import MissingDataError
from mer.study import figures
from mer.study.specs import RunSpec
from mer.study.store import Run


def comparison_rows() -> pd.DataFrame:
    """Two systems and tasks, as `mer.study.tables.comparison` gives them."""
    frame = pd.DataFrame(
        {"task": ["4Q", "4Q", "A", "A"], "system": ["S", "T"] * 2, "published": [0.65, np.nan] * 2}
    )
    audio = ["none", "rendered"] * 2
    return frame.assign(mean=0.7, sd=np.nan, low=0.6, high=0.8, n=86, seeds=1, audio=audio)


def predictions() -> pd.DataFrame:
    """Two systems on four clips: one is right, the other always answers Q1."""
    frame = pd.DataFrame({"task": "4Q", "target": [1, 2, 3, 4], "group": ["a", "a", "b", "c"]})
    right = frame.assign(system="right", answer=frame["target"])
    return pd.concat([right, frame.assign(system="constant", answer=1)], ignore_index=True)


def a_run(system: str, epochs: int) -> Run:
    spec = RunSpec(system, "4Q", "composed", "official", 0, 0, "f" * 64, {}, {})
    row = {"train_loss": 1.0, "valid_loss": 1.2, "valid_accuracy": 0.5, "learning_rate": 0.1}
    return Run(spec, pd.DataFrame(), [row] * epochs)


def all_figures() -> dict[str, Figure]:
    quantiles = [1.0, 2.0, 3.0]
    names = ("duration_s", "notes_per_s", "mean_velocity", "mean_pitch")
    notes = {quadrant: dict.fromkeys(names, quantiles) for quadrant in figures.QUADRANTS}
    return {
        "accuracy": figures.accuracy(comparison_rows()),
        "confusion": figures.confusion_matrices(predictions(), ["right", "constant", "absent"]),
        "disagreement": figures.label_disagreement(predictions().drop_duplicates("target")),
        "counts": figures.label_counts({"Q1": 1, "Q2": 2, "Q3": 3, "Q4": 4}),
        "notes": figures.note_statistics(notes),
        "interval": figures.interval_width(0.7, {"a gain": 0.02}, {"a split": 86}),
        "training": figures.training_history([a_run("LSTM", 3), a_run("ResNet", 5)]),
    }


def texts(figure: Figure, axis: int) -> list[str]:
    return [text.get_text() for text in figure.axes[axis].texts]


def test_all_figures_have_the_width_of_the_book_and_are_not_left_open() -> None:
    for figure in all_figures().values():
        assert figure.get_figwidth() == figures.WIDTH
        figure.savefig(io.BytesIO(), dpi=40)
    assert plt.get_fignums() == []


def test_style_sets_colours_that_can_be_told_apart() -> None:
    with plt.rc_context():
        figures.style()
        colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert colours[:2] == [figures.BLUE, figures.VERMILLION]
    assert len(set(colours)) == len(colours)


def test_forest_plot_shows_mean_interval_and_published_value() -> None:
    figure = all_figures()["accuracy"]
    panel = figure.axes[0]
    assert panel.get_title() == "Four quadrants (n = 86)"
    assert [label.get_text() for label in panel.get_yticklabels()] == ["S", "T"]
    shown = {line.get_label(): np.asarray(line.get_xdata()) for line in panel.lines}
    np.testing.assert_array_equal(shown["published"], [0.65, np.nan])
    bars: Any = panel.containers[0]
    ends = np.asarray([segment[:, 0] for segment in bars.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, [[0.6, 0.8], [0.6, 0.8]])


def test_confusion_matrices_show_percent_of_each_label() -> None:
    figure = all_figures()["confusion"]
    assert [axis.get_title() for axis in figure.axes] == ["right", "constant"]
    identity = np.where(np.eye(4, dtype=bool), "100", "0")
    assert texts(figure, 0) == identity.ravel().tolist()
    assert texts(figure, 1) == ["100", "0", "0", "0"] * 4


def test_label_disagreement_pairs_different_clips_of_one_song() -> None:
    labels = pd.DataFrame({"group": ["a", "a", "a", "b"], "target": [1, 1, 2, 3]})
    figure = figures.label_disagreement(labels)
    # Pairs in song a: Q1 with Q1 twice, Q1 with Q2 twice, Q2 with Q1 twice; song b has no pair.
    assert texts(figure, 1) == ["50", "50", "0", "0", "100", "0", "0", "0", *["0"] * 8]
    assert texts(figure, 0) == ["1", "0", "1"]


def test_binary_labels_are_named_low_and_high() -> None:
    labels = pd.DataFrame({"group": ["a", "a"], "target": [1, 2]})
    panel = figures.label_disagreement(labels, "A").axes[1]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["low", "high"]


def test_interval_of_a_published_accuracy() -> None:
    assert figures.half_width(0.684, 86) == pytest.approx(0.0983, abs=1e-4)
    assert figures.half_width(0.684, 4 * 86) == pytest.approx(0.0983 / 2, abs=1e-4)


def test_training_history_has_a_column_for_each_system() -> None:
    figure = all_figures()["training"]
    assert [axis.get_title() for axis in figure.axes[:2]] == ["LSTM", "ResNet"]
    assert [len(axis.lines) for axis in figure.axes] == [2, 2, 1, 1]
    assert np.asarray(figure.axes[3].lines[0].get_xdata()).tolist() == [1, 2, 3, 4, 5]


def test_captioned_table_formats_cells() -> None:
    table = pd.DataFrame(
        {"accuracy": [0.5, -0.25], "n": [1078, 86], "right": [True, False], "p": [np.nan, 1.0]},
        index=pd.Index(["a", "b"], name="system"),
    )
    html = figures.captioned(table, "A caption").to_html()
    for cell in (".500", "-.250", "1,078", "yes", "no", "–", "1.000", "A caption"):
        assert f">{cell}</" in html
    assert "system" not in html


def test_accuracy_table_says_which_audio_was_rendered() -> None:
    html = figures.accuracy_table(comparison_rows(), "4Q").to_html()
    assert "Rendered audio was synthesised from the MIDI files." in html
    for cell in (".650", ".700 [.600,\N{NO-BREAK SPACE}.800]", "86", "rendered"):
        assert f">{cell}</" in html
    unpublished = comparison_rows().assign(published=np.nan)
    assert "published" not in figures.accuracy_table(unpublished, "4Q").to_html()


def test_excerpt_shows_notes_and_spectrogram_on_one_time_axis(tiny: Corpus) -> None:
    figure = figures.excerpt(tiny[0], seconds=2.0)
    roll, spectrogram = figure.axes[:2]
    assert roll.get_xlim() == spectrogram.get_xlim() == (0.0, 2.0)
    image: Any = spectrogram.images[0].get_array()
    assert image.shape[0] == 128
    assert len(roll.patches) > 0


def test_excerpt_needs_midi() -> None:
    with pytest.raises(MissingDataError, match="'x' has no MIDI file"):
        figures.excerpt(Clip("x", "song"))


def test_player_embeds_a_small_mp3_of_the_wanted_length(tiny: Corpus) -> None:
    import soundfile

    audio = figures.player(tiny[0], seconds=1.0)
    assert audio.mimetype == "audio/mpeg"
    assert len(audio.data) < 20_000
    samples, rate = soundfile.read(io.BytesIO(audio.data))
    assert rate == 16000
    assert samples.size == pytest.approx(16000, abs=2500)
    assert np.abs(samples).max() > 0.01
