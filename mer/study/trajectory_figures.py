"""Figure and player of what systems of segments say along a song."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Sequence
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer.audio import waveform
from mer.clips import Clip, Labels
from mer.study.figures import BLUE, GREEN, ORANGE, PURPLE, QUADRANTS, VERMILLION, panels
from mer.study.players import sound
from mer.study.sun2024 import PROPOSED
from mer.study.trajectories import Place
from mer.tasks import TASKS

if TYPE_CHECKING:
    from IPython.display import HTML

_DASHES = ("", "7 3", "2 2", "9 3 2 3", "12 3")
"""Of the classes, in points: with the colours they tell the lines apart."""
_CLUSTERS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE)
_RATE = 16000


class Line(NamedTuple):
    """How the probability of a class is drawn.

    Attributes
    ----------
    column, name, colour, dashes : str
    """

    column: str
    name: str
    colour: str
    dashes: str

    @property
    def style(self) -> Any:
        """Line style of matplotlib."""
        return (0, tuple(float(part) / 2 for part in self.dashes.split())) if self.dashes else "-"


class Span(NamedTuple):
    """A stretch of a clip with one emotion: start and end in seconds, its class and colour."""

    start: float
    end: float
    name: str
    colour: str


def class_lines(task: str) -> list[Line]:
    """Lines of a task: one a class, or that of "high" alone where there are two."""
    names = TASKS[task].classes
    if len(names) == 2:
        return [Line("p_2", names[1], BLUE, "")]
    colours = [QUADRANTS[n][1] for n in names] if task == "4Q" else list(_CLUSTERS)
    meanings = [f"{n}: {QUADRANTS[n][0]}" if task == "4Q" else n for n in names]
    columns = [f"p_{k + 1}" for k in range(len(names))]
    return [Line(*row) for row in zip(columns, meanings, colours, _DASHES, strict=False)]


def true_spans(clip: Clip, task: str) -> list[Span]:
    """Stretches of a composed clip, by the class of the task."""
    names, lines = TASKS[task].classes, class_lines(task)
    colours = ["white"] * (len(names) - len(lines)) + [line.colour for line in lines]
    spans: list[Span] = []
    for piece in clip.meta["segments"]:
        number = TASKS[task].class_of(Labels(quadrant=piece["quadrant"]))
        assert number is not None, "quadrants tell the class"
        name, colour = names[number].split()[0], colours[number]
        if spans and spans[-1].name == name:
            spans[-1] = spans[-1]._replace(end=piece["end"])
        else:
            spans.append(Span(piece["start"], piece["end"], name, colour))
    return spans


def trajectory(place: Place, song: str) -> Figure:
    """Probabilities of the segments of a song, a panel a system (figure 2).

    Parameters
    ----------
    place : Place
    song : str
        Id of one of its clips.

    Returns
    -------
    Figure
        Each point stands in the middle of its segment. Where the emotion is known, backgrounds
        have the name and colour of the true class, and dashed lines tell where it changes.
    """
    chosen = place.segments[place.segments["id"] == song]
    systems = chosen["system"].unique()
    clip = place.clip(song)
    figure, axes = panels(len(systems), 1, 0.9 + 1.75 * len(systems), sharex=True, sharey=True)
    for axis, system in zip(axes[:, 0], systems, strict=True):
        rows = chosen[chosen["system"] == system]
        if clip is not None:
            _shade(axis, true_spans(clip, place.task))
        middle = (rows["start"] + rows["end"]) / 2
        lines = class_lines(place.task)
        for line in lines:
            style = {"color": line.colour, "ls": line.style, "label": line.name}
            axis.plot(middle, rows[line.column], lw=1.6, **style)
        if len(lines) == 1:
            axis.axhline(0.5, color="grey", lw=0.8, ls=":")
        axis.set(ylim=(0, 1.14), xlim=(0, rows["end"].max()), ylabel="Probability")
        axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axis.set_title(system, loc="left")
        axis.grid(axis="x", visible=False)
    axes[-1, 0].set_xlabel("Time (s)")
    handles = axes[0, 0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3))
    return figure


def _shade(axis: Axes, spans: Sequence[Span]) -> None:
    for number, span in enumerate(spans):
        axis.axvspan(span.start, span.end, color=span.colour, alpha=0.15, lw=0)
        middle = (span.start + span.end) / 2
        axis.text(middle, 1.07, span.name, ha="center", va="center", fontsize=8)
        if number:
            axis.axvline(span.start, color="grey", lw=0.8, ls="--")


_WIDTH, _HEIGHT = 720, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 708, 22, 196

_PAGE = Template(
    """<div id="$name" style="background: white; color: black; max-width: ${width}px">
<p style="margin: 0.2em 0; font-size: 0.9em">$title</p>
<svg viewBox="0 0 $width $height" role="img" aria-label="$title"
 style="width: 100%; cursor: pointer; font: 11px sans-serif">$drawing
<line class="cursor" x1="$left" x2="$left" y1="$top" y2="$bottom" stroke="black" stroke-width="2"/>
</svg>
<p style="margin: 0.2em 0; font-size: 0.85em">$legend</p>
<p class="told" style="margin: 0.2em 0; font-size: 0.9em; min-height: 1.4em">
Play, or click into the figure to hear that place.</p>
<audio controls preload="auto" style="width: 100%" src="$sound"></audio>
<script>
(function () {
  const root = document.getElementById("$name"), facts = $facts;
  const audio = root.querySelector("audio"), svg = root.querySelector("svg");
  const cursor = root.querySelector(".cursor"), told = root.querySelector(".told");
  function show() {
    const t = Math.min(audio.currentTime, facts.end);
    const x = $left + ($right - $left) * t / facts.end;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    let best = 0;
    facts.middle.forEach((m, k) => {
      if (Math.abs(m - t) < Math.abs(facts.middle[best] - t)) best = k;
    });
    const parts = facts.names.map((n, k) => n + " " + facts.values[k][best].toFixed(2));
    const span = facts.spans.find(s => t < s[1]) || facts.spans[facts.spans.length - 1];
    told.textContent = t.toFixed(1) + " s: " + parts.join(", ") + "; true: " + span[2];
    if (!audio.paused) requestAnimationFrame(show);
  }
  ["play", "seeked", "timeupdate"].forEach(event => audio.addEventListener(event, show));
  svg.addEventListener("click", event => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * $width;
    const t = (x - $left) / ($right - $left) * facts.end;
    audio.currentTime = Math.max(0, Math.min(t, facts.end));
    show();
  });
})();
</script></div>"""
)


def trajectory_player(place: Place, song: str, system: str = PROPOSED) -> HTML:
    """A player whose cursor moves along what a system says of a composed clip.

    One piece of HTML that needs nothing else: it works in a notebook and in the built book.

    Parameters
    ----------
    place : Place
        Of a composed corpus.
    song : str
        Id of one of its clips.
    system : str
    """
    from IPython.display import HTML

    clip = place.clip(song)
    assert clip is not None, "only composed clips are played"
    chosen = place.segments.query("id == @song and system == @system")
    spans, lines = true_spans(clip, place.task), class_lines(place.task)
    end = float(max(chosen["end"].max(), spans[-1].end))
    middle = ((chosen["start"] + chosen["end"]) / 2).round(3).tolist()
    facts = {
        "end": end,
        "middle": middle,
        "names": [line.name.split(":")[0] for line in lines],
        "values": [chosen[line.column].tolist() for line in lines],
        "spans": [[span.start, span.end, span.name] for span in spans],
    }
    return HTML(
        _PAGE.substitute(
            name=_name(place.name, song, system),
            title=html.escape(f"{system} on {song}: probability of each class over time"),
            drawing=_drawing(facts, lines, spans),
            legend=_legend(lines),
            facts=json.dumps(facts),
            sound=sound(waveform(clip, _RATE), _RATE, seconds=end).src_attr(),
            width=_WIDTH,
            height=_HEIGHT,
            left=_LEFT,
            right=_RIGHT,
            top=_TOP,
            bottom=_BOTTOM,
        )
    )


def _name(*parts: str) -> str:
    return f"trajectory-{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:12]}"


def _drawing(facts: dict[str, Any], lines: Sequence[Line], spans: Sequence[Span]) -> str:
    """Spans, axes and lines as SVG."""

    def x(seconds: Any) -> Any:
        return _LEFT + (_RIGHT - _LEFT) * np.asarray(seconds) / facts["end"]

    def y(share: Any) -> Any:
        return _BOTTOM - (_BOTTOM - _TOP) * np.asarray(share)

    parts = []
    for span in spans:
        begin, stop = x(span.start), x(span.end)
        parts.append(
            f'<rect x="{begin:.1f}" y="{_TOP}" width="{stop - begin:.1f}" '
            f'height="{_BOTTOM - _TOP}" fill="{span.colour}" opacity="0.15"/>'
            + _text((begin + stop) / 2, _TOP - 6, span.name)
        )
    for share in (0, 0.5, 1):
        height = y(share)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{height:.1f}" y2="{height:.1f}" '
            'stroke="#BBBBBB"/>' + _text(_LEFT - 6, height + 4, f"{share:g}", "end")
        )
    parts += [_text(x(t), _BOTTOM + 15, f"{t:g}") for t in range(0, int(facts["end"]) + 1, 5)]
    parts.append(_text((_LEFT + _RIGHT) / 2, _HEIGHT - 4, "Time (s)"))
    parts.append(_text(_LEFT - 6, _TOP - 6, "Probability"))
    for line, values in zip(lines, facts["values"], strict=True):
        points = " ".join(
            f"{a:.1f},{b:.1f}" for a, b in zip(x(facts["middle"]), y(values), strict=True)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2" '
            f'stroke-dasharray="{line.dashes}"/>'
        )
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _legend(lines: Sequence[Line]) -> str:
    """Names of the lines, each after a piece of it."""
    return " &nbsp; ".join(
        '<span style="white-space: nowrap"><svg width="32" height="8" style="vertical-align: '
        f'middle"><line x1="0" x2="32" y1="4" y2="4" stroke="{line.colour}" stroke-width="2" '
        f'stroke-dasharray="{line.dashes}"/></svg> {html.escape(line.name)}</span>'
        for line in lines
    )


def overview(songs: pd.DataFrame) -> Figure:
    """Songs of a place by how many of their segments have the class of the song's label.

    Parameters
    ----------
    songs : DataFrame
        Rows of `mer.study.trajectories.song_table` with a further column place, of one system.
    """
    names = songs["place"].unique()
    figure, axes = panels(1, 2, 1.0 + 0.4 * len(names), sharey=True)
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        own = songs[songs["place"] == name]
        heights = number + rng.uniform(-0.25, 0.25, len(own))
        for axis, column in zip(axes[0], ("agree", "changes"), strict=True):
            axis.plot(own[column], heights, ".", ms=4, alpha=0.5, color=BLUE)
            axis.plot(own[column].mean(), number, "D", ms=6, color=VERMILLION, mec="white")
    axes[0, 0].set_xlabel("Share of segments with the song's class")
    axes[0, 1].set_xlabel("Changes of the most probable class")
    axes[0, 0].set_yticks(range(len(names)), list(names))
    axes[0, 0].invert_yaxis()
    for axis in axes[0]:
        axis.grid(axis="y", visible=False)
    return figure
