"""Tables and figures of separation: their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from mer.errors import MissingDataError, ParameterError
from mer.separation import SOURCES
from mer.study import figures, separation_figures
from mer.study.parameters import SeparationParameters, check
from mer.study.players import sound
from mer.study.separations import Mix
from mer.study.store import RunStore

LEVELS = {"mixture": -5.0, "harmonic-percussive": -2.0, "small": 6.0}


def scores(n: int = 8, test: str = "composed") -> pd.DataFrame:
    """Each separator as far above the mixture in every mix; the last mix has no vocals."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(n, len(SOURCES)))
    rows = [
        {
            **{"test": test, "separator": name, "id": f"mix {k}", "group": f"song {k // 2}"},
            "source": source,
            "si_sdr": np.nan if (k, source) == (n - 1, "vocals") else level + base[k, place],
        }
        for name, level in LEVELS.items()
        for k in range(n)
        for place, source in enumerate(SOURCES)
    ]
    return pd.DataFrame(rows)


def test_summary_gives_means_and_intervals() -> None:
    frame = scores()
    table = separation_figures.summary(frame)
    assert table.index.tolist() == [("composed", name) for name in LEVELS]
    own = frame[(frame["separator"] == "small") & (frame["source"] == "bass")]["si_sdr"]
    assert str(table.loc[("composed", "small"), "bass"]).startswith(f"{own.mean():.1f} [")
    assert table["mixes"].tolist() == ["8"] * 3
    single = separation_figures.summary(scores(1, "recording").dropna())
    assert "[" not in str(single.loc[("recording", "small"), "bass"])
    assert single.loc[("recording", "small"), "vocals"] == "–"


def test_gains_are_paired_by_mix_and_source() -> None:
    found = separation_figures.gains(scores())
    assert set(found["separator"]) == {"harmonic-percussive", "small"}
    small = found[found["separator"] == "small"]["si_sdr"].dropna()
    np.testing.assert_allclose(small, 11.0)
    table = separation_figures.summary(found)
    assert table.loc[("composed", "small"), "drums"] == "11.0 [11.0, 11.0]"
    assert table.loc[("composed", "small"), separation_figures.MEAN] == "11.0 [11.0, 11.0]"


def test_findings_say_how_often_and_by_how_much() -> None:
    (line,) = separation_figures.findings(scores(), "small")
    assert line.startswith("- composed: small minus mixture +11.0 dB on average (above it in drum")
    assert "; minus harmonic-percussive +8.0 dB on average" in line
    assert separation_figures.not_run(scores()) == ["htdemucs"]


def test_distribution_has_a_panel_a_source() -> None:
    frame = pd.concat([scores(), scores(1, "recording")])
    figure = separation_figures.distribution(frame)
    assert [axis.get_title() for axis in figure.axes] == [s.capitalize() for s in SOURCES]
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels[2:4] == ["small\ncomposed", "mixture\nrecording"]
    assert figure.get_figwidth() == figures.WIDTH
    assert not plt.get_fignums()


def test_a_mix_taken_apart_shows_its_scores() -> None:
    rng = np.random.default_rng(0)
    stems = {s: 0.1 * rng.normal(size=16000).astype(np.float32) for s in SOURCES}
    stems["vocals"] = 0 * stems["vocals"]
    mix = Mix("m", "m", stems, np.sum(list(stems.values()), axis=0), 8000)
    figure = separation_figures.taken_apart(mix, dict(stems), seconds=2.0)
    titles = [axis.get_title() for axis in figure.axes[:8]]
    assert titles[:2] == ["Drums", "separated: 60.0 dB"]
    assert titles[-1] == "separated: silent"


def test_player_embeds_mp3() -> None:
    audio = sound(np.zeros(44100, dtype=np.float32), 22050, seconds=1.0)
    assert audio.mimetype == "audio/mpeg"
    assert len(audio.data) < 20000


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"separators": []}, "separators is empty"),
        ({"separators": ["ears"]}, "unknown separator 'ears'; the separators are: small, htd"),
        ({"separators": ["small", "small"]}, "expected each separator once"),
        ({"n_jobs": 0}, "n_jobs is 0"),
    ],
)
def test_wrong_parameters(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        check(values, SeparationParameters)


def test_only_stored_scores_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def table(store: RunStore, test: str, name: str, *, compute: bool, **options: Any) -> Any:
        asked.append((name, compute))
        if name == "htdemucs":
            raise MissingDataError("is not stored")
        return scores().query("separator == @name")

    monkeypatch.setattr(separation_figures, "separation_table", table)
    settings = check({"profile": "smoke"}, SeparationParameters)
    found = separation_figures.collected(RunStore(tmp_path), settings)
    assert list(found["separator"].unique()) == list(LEVELS)
    assert asked[-1] == ("htdemucs", False)
