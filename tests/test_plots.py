"""Plots: what they draw (values of artists, labels, colours), and that all look alike."""

from __future__ import annotations

import html
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mer.clips import Clip, Corpus
from mer.errors import MissingDataError, ParameterError
from mer.study import players, plots

NAN = float("nan")


def scores() -> pd.DataFrame:
    """Two systems, two tasks."""
    rows = [
        ("4Q", "S", 0.7, 0.6, 0.75, 0.65),
        ("4Q", "T", 0.5, 0.4, 0.6, NAN),
        ("A", "S", 0.8, 0.7, 0.9, NAN),
        ("A", "T", 0.6, NAN, NAN, NAN),
    ]
    columns = ["task", "system", "mean", "low", "high", "published"]
    return pd.DataFrame(rows, columns=columns)


def epochs() -> pd.DataFrame:
    """Two runs of two systems over three epochs, with two measures."""
    rows = [
        (epoch, system, run, measure, epoch * level + run + offset)
        for measure, offset in (("Loss", 0), ("Share", 10))
        for system, level in (("S", 1), ("T", 2))
        for run in (0, 1)
        for epoch in range(3)
    ]
    frame = pd.DataFrame(rows, columns=["epoch", "system", "run", "measure", "value"])
    return frame.assign(low=frame["value"] - 0.5, high=frame["value"] + 1)


def losses() -> pd.DataFrame:
    return epochs().query("run == 0 and measure == 'Loss'")


def all_figures(clip: Clip) -> dict[str, Figure]:
    table = pd.DataFrame(np.eye(2), index=list("ab"), columns=list("ab"))
    row = {"train_loss": 1.0, "valid_loss": 1.2, "valid_accuracy": 0.5}
    return {
        "forest": plots.forest(scores(), "system", column="task"),
        "distribution": plots.distribution(scores(), "mean", "system", mean=True),
        "curves": plots.curves(epochs(), "epoch", "value", hue="system", units=("run", "measure")),
        "history": plots.history([("a, b", [row] * 3)]),
        "scatter": plots.scatter(scores(), "low", "high", hue="task", diagonal=True),
        "heatmaps": plots.heatmaps({"one": table}, "Answer", "Label"),
        "excerpt": plots.excerpt(clip),
    }


def lines(axis: Axes) -> dict[str, np.ndarray]:
    """Points of the labelled lines, shape (2, n)."""
    return {str(line.get_label()): np.asarray(line.get_data(), float) for line in axis.lines}


def intervals(axis: Axes, along: int = 0) -> np.ndarray:
    """Ends of error bars along x (0) or y (1), shape (n, 2)."""
    bars: Any = axis.containers[0]
    return np.asarray([segment[:, along] for segment in bars.lines[2][0].get_segments()])


def dots(axis: Axes, container: int = 0) -> np.ndarray:
    bars: Any = axis.containers[container]
    return np.asarray(bars.lines[0].get_data(), float)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for found in figure.legends for text in found.get_texts()]


def titles(figure: Figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes]


def ticks(axis: Axes) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def test_all_figures_have_the_width_of_the_book_and_are_not_left_open(tiny: Corpus) -> None:
    for figure in all_figures(tiny[0]).values():
        assert figure.get_figwidth() == plots.WIDTH
        figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_names_with_dollar_signs_are_no_formulas() -> None:
    name = r"a$\foo$ & <b>"
    frame = scores().replace({"S": name, "4Q": f"4{name}"})
    table = pd.DataFrame(np.eye(2), index=[name, "b"], columns=["a", name])
    figure, axes = plots.panels(1, 1, 2)
    plots.bars(axes[0, 0], pd.Series([1, 2], index=[name, "b"]))
    for drawn, shown in (
        (plots.forest(frame, "system", column="task", hue="system"), {name, f"4{name}"}),
        (plots.forest(frame, "task", hue="system", names={"T": f"T{name}"}), {name, f"T{name}"}),
        (plots.heatmaps({f"t{name}": table}, "x", "y"), {name, f"t{name}"}),
        (figure, {name}),
    ):
        buffer = io.StringIO()
        with plt.rc_context({"svg.fonttype": "none"}):
            drawn.savefig(buffer, format="svg")
        for text in shown:
            assert f">{html.escape(text, quote=False)}</text>" in buffer.getvalue()


def test_style_sets_colours_that_can_be_told_apart() -> None:
    with plt.rc_context():
        plots.style()
        colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert colours[:2] == [plots.BLUE, plots.VERMILLION]
    assert len(set(colours)) == len(colours)


class TestForest:
    def test_dots_intervals_and_published_values(self) -> None:
        names = {"4Q": "Four quadrants", "S": "System"}
        figure = plots.forest(
            scores(), "system", column="task", published="published", names=names, xlabel="Accuracy"
        )
        first, second = figure.axes
        assert titles(figure) == ["Four quadrants", "A"]
        assert ticks(first) == ["System", "T"]
        assert first.get_ylim() == (1.5, -0.5)
        assert [axis.get_xlabel() for axis in figure.axes] == ["Accuracy"] * 2
        np.testing.assert_array_equal(dots(first), [[0.7, 0.5], [0, 1]])
        np.testing.assert_allclose(intervals(first), [[0.6, 0.75], [0.4, 0.6]])
        np.testing.assert_array_equal(lines(first)["published"], [[0.65, NAN], [0, 1]])
        assert "published" not in lines(second)
        assert legend(figure) == ["here, with 95 % interval", "published"]

    def test_rows_of_panels_and_a_system_that_was_not_run(self) -> None:
        frame = scores().assign(metric="F1")
        figure = plots.forest(frame, "system", row="task", column="metric", order=["T", "U", "S"])
        assert titles(figure) == ["4Q: F1", "A: F1"]
        assert ticks(figure.axes[0]) == ["T", "U", "S"]
        assert dots(figure.axes[0])[1].tolist() == [2, 0]
        (axis,) = plots.forest(frame[:2], "system", order=["T"]).axes
        assert dots(axis).tolist() == [[0.5], [0]]
        assert [axis.get_xlabel() for axis in figure.axes] == ["", "mean"]

    def test_hue_moves_apart_what_shares_a_category_and_needs_no_legend_else(self) -> None:
        markers = {"4Q": "s"}
        figure = plots.forest(scores(), "system", hue="task", markers=markers)
        (axis,) = figure.axes
        np.testing.assert_allclose(dots(axis, 0)[1], [-0.2, 0.8])
        np.testing.assert_allclose(dots(axis, 1)[1], [0.2, 1.2])
        drawn: list[Any] = [container.lines[0] for container in axis.containers]  # type: ignore[attr-defined]
        assert [line.get_marker() for line in drawn] == ["s", "o"]
        assert [line.get_color() for line in drawn] == [plots.BLUE, plots.VERMILLION]
        assert legend(figure) == ["4Q", "A"]
        own = plots.forest(scores(), "system", column="task", hue="system")
        assert legend(own) == []
        assert dots(own.axes[0], 1).tolist() == [[0.5], [1]]

    def test_reference_lines_and_bands_by_panel(self) -> None:
        lines_at = {"chance": {"4Q": 0.25, "A": 0.5}, "bound": {"A": NAN}, "_zero": 0}
        bands_at = {"mix": {"A": (0.1, 0.2)}}
        figure = plots.forest(scores(), "system", column="task", vlines=lines_at, bands=bands_at)
        first, second = figure.axes
        assert lines(first)["chance"][0].tolist() == [0.25, 0.25]
        assert lines(second)["chance"][0].tolist() == [0.5, 0.5]
        assert "bound" not in lines(first) | lines(second)
        assert "_zero" in lines(first)
        bands = [patch.get_label() for axis in figure.axes for patch in axis.patches]
        assert bands == ["mix"]
        assert legend(figure) == ["here, with 95 % interval", "chance", "mix"]

    def test_single_values_lie_behind_in_their_category(self) -> None:
        points = pd.DataFrame({"task": "A", "system": ["S", "T", "T"], "mean": [0.1, 0.2, 0.3]})
        figure = plots.forest(scores(), "system", column="task", points=points)
        first, second = (axis.lines[0] for axis in figure.axes)
        assert len(np.asarray(first.get_xdata())) == 0
        assert np.asarray(second.get_xdata()).tolist() == [0.1, 0.2, 0.3]
        np.testing.assert_allclose(np.asarray(second.get_ydata()), [0, 1, 1], atol=0.3)


class TestDistribution:
    FRAME = pd.DataFrame({"v": [0.0, 1, 2, 3, 10, NAN], "name": list("aaaabb"), "part": "p"})

    def test_values_and_boxes(self) -> None:
        figure = plots.distribution(self.FRAME, "v", "name", hue="name", xlabel="dB")
        (axis,) = figure.axes
        assert ticks(axis) == ["a", "b"]
        assert axis.get_xlabel() == "dB"
        strips = [np.asarray(line.get_xdata()).tolist() for line in axis.lines[:2]]
        assert strips == [[0, 1, 2, 3], [10]]
        box = np.asarray(axis.lines[2].get_xdata())
        assert (box.min(), box.max()) == (0.75, 2.25)

    def test_means_instead_of_boxes(self) -> None:
        (axis,) = plots.distribution(self.FRAME, "v", "name", mean=True).axes
        _, means = axis.lines
        assert np.asarray(means.get_data()).tolist() == [[1.5, 10], [0, 1]]

    def test_dots_do_not_change_from_call_to_call(self) -> None:
        figures = [plots.distribution(self.FRAME, "v", "name", column="part") for _ in range(2)]
        one, other = (np.asarray(figure.axes[0].lines[0].get_ydata()) for figure in figures)
        np.testing.assert_array_equal(one, other)


class TestCurves:
    def test_runs_are_thin_and_their_mean_is_thick(self) -> None:
        figure = plots.curves(
            epochs(), "epoch", "value", row="measure", column="system", units=("run",)
        )
        assert titles(figure) == ["S", "T", "", ""]
        assert [axis.get_ylabel() for axis in figure.axes] == ["Loss", "", "Share", ""]
        assert [axis.get_xlabel() for axis in figure.axes] == ["", "", "epoch", "epoch"]
        one, other, mean = figure.axes[1].lines
        assert np.asarray(one.get_ydata()).tolist() == [0, 2, 4]
        assert np.asarray(other.get_ydata()).tolist() == [1, 3, 5]
        assert np.asarray(mean.get_ydata()).tolist() == [0.5, 2.5, 4.5]
        assert one.get_linewidth() < mean.get_linewidth()
        assert figure.axes[0].get_xticks().tolist() == [0, 1, 2]

    def test_bands_and_dashes(self) -> None:
        style: Any = {"hue": "system", "dashes": {"T": "--"}, "names": {"T": "Other"}}
        style |= {"ends": ("low", "high"), "hlines": {"chance": 0.5}}
        figure = plots.curves(losses(), "epoch", "value", **style)
        (axis,) = figure.axes
        assert [line.get_linestyle() for line in axis.lines] == ["-", "--", "--"]
        assert lines(axis)["Other"].tolist() == [[0, 1, 2], [0, 2, 4]]
        band = np.asarray(axis.collections[1].get_paths()[0].vertices).tolist()
        assert {(x, y) for x, y in band} >= {(0, -0.5), (0, 1), (2, 3.5), (2, 5)}
        assert legend(figure) == ["S", "Other", "chance"]

    def test_error_bars_are_moved_apart(self) -> None:
        options: Any = {"ends": ("low", "high"), "errors": "bars", "hue": "system"}
        (axis,) = plots.curves(losses(), "epoch", "value", shift=0.1, **options).axes
        np.testing.assert_allclose(dots(axis, 0)[0], [-0.05, 0.95, 1.95])
        np.testing.assert_allclose(dots(axis, 1)[0], [0.05, 1.05, 2.05])
        np.testing.assert_allclose(intervals(axis, along=1), [[-0.5, 1], [0.5, 2], [1.5, 3]])

    def test_stretches_are_named_and_shaded(self) -> None:
        rows = [(0.0, 1.0, "Q1", plots.ORANGE), (1.0, 2.0, "Q3", plots.BLUE)]
        spans = pd.DataFrame(rows, columns=["start", "end", "name", "colour"])
        (axis,) = plots.curves(losses(), "epoch", "value", spans=spans).axes
        assert [text.get_text() for text in axis.texts] == ["Q1", "Q3"]
        assert [text.get_position()[0] for text in axis.texts] == [0.5, 1.5]
        assert [to_hex(p.get_facecolor()).upper() for p in axis.patches] == list(spans["colour"])


class TestHistory:
    def test_classification_has_losses_above_accuracies(self) -> None:
        row = {"train_loss": 1.0, "valid_loss": 1.2, "valid_accuracy": 0.5}
        runs = [("LSTM-Attn, a big one", [row] * 3), ("ResNet", [row] * 5), ("ResNet", [row] * 4)]
        figure = plots.history(runs)
        assert titles(figure) == ["LSTM-Attn, a big\none", "ResNet", "", ""]
        assert [axis.get_ylabel() for axis in figure.axes] == ["Loss", "", "Accuracy", ""]
        assert [len(axis.lines) for axis in figure.axes] == [2, 4, 1, 2]
        assert np.asarray(figure.axes[3].lines[0].get_xdata()).tolist() == [1, 2, 3, 4, 5]
        assert lines(figure.axes[0])["validation"][1].tolist() == [1.2] * 3
        assert legend(figure) == ["training", "validation"]

    def test_what_is_no_network_has_no_curve(self) -> None:
        row = {"train_loss": 1.0, "valid_loss": 1.2, "valid_accuracy": 0.5}
        figure = plots.history([("SVM", [{"C": 1.0, "valid_accuracy": 0.5}]), ("LSTM", [row] * 3)])
        assert titles(figure) == ["LSTM", ""]
        (text,) = plots.history([("SVM", [{"C": 1.0}]), ("Constant", [])]).axes[0].texts
        assert text.get_text() == "Nothing to show: no network of these rows was run."

    def test_regression_has_errors_in_one_unit(self) -> None:
        rows = [{"train_loss": 0.04, "valid_rmse": 0.3}] * 2
        figure = plots.history([(name, rows) for name in "abcdefg"])
        assert [axis.axison for axis in figure.axes] == [True] * 7 + [False]
        assert lines(figure.axes[2])["training"][1].tolist() == pytest.approx([0.2, 0.2])
        assert lines(figure.axes[2])["validation"][1].tolist() == [0.3, 0.3]
        assert figure.axes[0].get_ylabel() == "RMSE"
        assert [axis.get_xlabel() for axis in figure.axes[:7]] == ["Epoch"] * 7


def test_scatter_has_a_title_for_each_pair_and_a_diagonal() -> None:
    layout: Any = {"row": "system", "column": "task", "hue": "task"}
    layout |= {"names": {("S", "A"): "S: A, R2 .5"}, "hlines": {"median": {"T": 0.5}}}
    figure = plots.scatter(scores(), "mean", "high", diagonal=True, **layout)
    assert titles(figure) == ["S: 4Q", "S: A, R2 .5", "T: 4Q", "T: A"]
    diagonal, *points = figure.axes[0].lines
    assert np.asarray(diagonal.get_data()).tolist() == [[0.7, 0.75]] * 2
    assert np.asarray(points[0].get_data()).tolist() == [[0.7], [0.75]]
    assert lines(figure.axes[2])["median"][1].tolist() == [0.5, 0.5]
    assert "median" not in lines(figure.axes[0])


def test_heatmaps_show_their_numbers() -> None:
    table = pd.DataFrame([[1, 0], [0.25, 0.75]], index=["Q1", "Q2"], columns=["low", "high"])
    figure = plots.heatmaps({"one": table, "two": 1 - table}, "Answer", "Label", percent=True)
    assert titles(figure) == ["one", "two"]
    shown = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert shown == [["100", "0", "25", "75"], ["0", "100", "75", "25"]]
    assert ticks(figure.axes[0]) == ["Q1", "Q2"]
    _, ((axis,),) = plots.panels(1, 1, 2)
    plots.heatmap(axis, table)
    assert [text.get_text() for text in axis.texts] == ["1.00", ".00", ".25", ".75"]


@pytest.mark.parametrize("horizontal", [False, True])
def test_bars_bear_their_numbers(horizontal: bool) -> None:
    _, ((axis,),) = plots.panels(1, 1, 2)
    counts = pd.Series({"Q1": 1078, "Q2": 2})
    plots.bars(axis, counts, colours=[plots.ORANGE, plots.BLUE], horizontal=horizontal)
    size = "get_width" if horizontal else "get_height"
    assert [getattr(bar, size)() for bar in axis.patches] == [1078, 2]
    assert [text.get_text() for text in axis.texts] == ["1,078", "2"]
    assert to_hex(axis.patches[0].get_facecolor()).upper() == plots.ORANGE
    assert axis.yaxis_inverted() == horizontal


def test_piano_roll_has_a_bar_for_each_note() -> None:
    _, ((axis,),) = plots.panels(1, 1, 2)
    plots.piano_roll(axis, np.array([[0.5, 1.5, 60, 100], [1.0, 3.0, 64, 1]]))
    bars: list[Any] = list(axis.patches)
    assert [bar.get_x() for bar in bars] == [0.5, 1.0]
    assert [bar.get_width() for bar in bars] == [1.0, 2.0]
    assert [bar.get_y() + bar.get_height() / 2 for bar in bars] == pytest.approx([60, 64])
    brightness = [sum(bar.get_facecolor()[:3]) for bar in bars]
    assert brightness[0] > brightness[1]


def test_spectrogram_places_a_tone_at_its_frequency() -> None:
    rate = 22050
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    levels, frequencies, end = plots.mel_levels(tone, rate)
    loudest = levels.mean(axis=1).argmax()
    assert frequencies[loudest] == pytest.approx(1000, abs=50)
    assert end == pytest.approx(1.0, abs=0.05)
    _, ((axis,),) = plots.panels(1, 1, 2)
    image = plots.spectrogram(axis, levels, frequencies, end, start=0.0, range_db=60)
    hertz = dict(zip(ticks(axis), axis.get_yticks(), strict=True))
    assert list(hertz) == ["100", "500", "1,000", "2,000", "5,000", "10,000"]
    assert hertz["1,000"] == pytest.approx(loudest, abs=0.6)
    assert image.get_clim() == pytest.approx((levels.max() - 60, levels.max()))
    assert axis.get_ylabel() == "Frequency (Hz)"


def test_excerpt_shows_notes_and_spectrogram_on_one_time_axis(tiny: Corpus) -> None:
    figure = plots.excerpt(tiny[0])
    roll, spectrogram = figure.axes[:2]
    assert roll.get_xlim() == spectrogram.get_xlim() == (0.0, 10.0)
    image: Any = spectrogram.images[0].get_array()
    assert image.shape[0] == 128
    assert len(roll.patches) > 0
    with pytest.raises(MissingDataError, match="no MIDI file, which a piano roll needs"):
        plots.excerpt(Clip(id="a", group="a"))


def test_sound_is_as_long_and_as_loud_as_its_samples() -> None:
    import soundfile

    rate = 16000
    tone = 0.25 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    audio: Any = players.sound(tone, rate, 'a "tone"', seconds=1.0)
    assert audio.mimetype == "audio/mpeg"
    assert '<audio aria-label="a &quot;tone&quot;" ' in audio._repr_html_()
    samples, found = soundfile.read(io.BytesIO(audio.data))
    assert found == rate
    assert len(samples) / rate == pytest.approx(1.0, abs=0.15)
    assert np.abs(samples).max() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.array([0.1, np.nan]), 16000, "a: expected finite samples of shape"),
        (np.zeros((4, 2)), 16000, "a: expected finite samples of shape"),
        (np.zeros(4), 7000, "a: sample_rate is 7000; MP3 takes one of 8000,"),
    ],
)
def test_what_cannot_be_played(samples: np.ndarray, rate: int, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        players.sound(samples, rate, "a")


def test_figures_are_described() -> None:
    frame = pd.DataFrame({"system": ["a$", "b"], "mean": [0.7, 0.5], "low": 0.4, "high": 0.8})
    figure = plots.forest(frame, "system", xlabel="Accuracy", names={"b": "Beta"})
    assert plots.description(figure) == "Accuracy. highest a$ (.700), lowest Beta (.500)."
    nothing = plots.forest(frame.assign(mean=np.nan), "system", xlabel="Accuracy")
    assert plots.description(nothing) == "Accuracy. Nothing to show."


def test_nothing_to_show() -> None:
    for figure in (plots.history([]), plots.heatmaps({}, "x", "y")):
        assert figure.axes[0].texts[0].get_text().startswith("Nothing to show: n")
