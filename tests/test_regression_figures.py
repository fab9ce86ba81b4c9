"""Figures and tables of regression: what they show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from mer.evaluation.metrics import r2
from mer.study import figures, regression_figures
from mer.study.regression import regression_comparison
from mer.study.specs import RunSpec
from mer.study.store import Run


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """Two systems, two models each on the same clips."""
    rng = np.random.default_rng(0)
    frames = []
    for system, noise in (("SVR", 0.3), ("C2D-M", 0.5)):
        for fold in (0, 1):
            target = np.random.default_rng(1).uniform(-1, 1, (2, 30))
            given = target + noise * rng.normal(size=(2, 30))
            ids = [f"clip {k}" for k in range(30)]
            frame = pd.DataFrame({"system": system, "task": "VA", "fold": fold, "id": ids})
            for k, name in enumerate(("valence", "arousal")):
                frame = frame.assign(**{f"target_{name}": target[k], name: given[k]})
            frames.append(frame.assign(seed=0, audio="recorded", group=ids))
    return pd.concat(frames, ignore_index=True)


def test_table_has_one_metric_and_the_number_of_models(predictions: pd.DataFrame) -> None:
    table = regression_comparison(predictions, {("C2D-M", "r2", "valence"): 0.4143})
    styler: Any = regression_figures.score_table(table, "r2", "A caption", "PMEmo")
    shown = styler.data
    assert list(shown) == ["valence, published (PMEmo)", "valence, here", "arousal, here", "models"]
    assert shown.loc["C2D-M", "valence, published (PMEmo)"] == ".414"
    assert shown.loc["SVR", "valence, published (PMEmo)"] == "–"
    assert shown["models"].tolist() == [2, 2]
    mean = table.query("system == 'SVR' and metric == 'r2' and dimension == 'valence'")["mean"]
    assert shown.loc["SVR", "valence, here"].startswith(f"{mean.item():.3f}".removeprefix("0"))


def test_forest_shows_scores_and_bounds(predictions: pd.DataFrame) -> None:
    table = regression_comparison(predictions, {("C2D-M", "r2", "valence"): 0.4143})
    bounds = {"valence": 0.72, "arousal": np.nan}
    figure = regression_figures.scores(table, "PMEmo", bounds)
    left, right = figure.axes
    assert left.get_title() == "Valence"
    name = "reliability of the labels"
    bounded = [line.get_xdata() for line in left.lines if line.get_label() == name]
    assert bounded == [[0.72, 0.72]]
    assert not [line for line in right.lines if line.get_label() == name]
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["SVR", "C2D-M"]
    assert figure.get_figwidth() == figures.WIDTH
    assert not plt.get_fignums()


def test_scatter_draws_the_mean_prediction_of_a_clip(predictions: pd.DataFrame) -> None:
    figure = regression_figures.scatter(predictions, ["SVR", "absent"])
    assert len(figure.axes) == 2
    own = predictions[predictions["system"] == "SVR"].groupby("id")
    target, given = own["target_arousal"].mean(), own["arousal"].mean()
    points: Any = figure.axes[1].lines[1]
    np.testing.assert_allclose(points.get_ydata(), given)
    assert figure.axes[1].get_title() == f"SVR: arousal, R2 {r2(target, given):.3f}"


def test_training_history_is_in_rmse() -> None:
    spec = RunSpec("C1D-M", "VA", "emotify", "nested5x5", 0, 0, "f" * 64, {}, {})
    rows = [{"train_loss": 0.04, "valid_rmse": 0.3, "learning_rate": 0.1}] * 3
    runs = [Run(spec, pd.DataFrame(), rows)] * 2
    figure = regression_figures.training_history(runs)
    lines: Any = figure.axes[0].lines
    assert len(lines) == 4
    np.testing.assert_allclose(lines[0].get_ydata(), 0.2)
    assert list(lines[0].get_xdata()) == [1, 2, 3]
