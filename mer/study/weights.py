"""Weights, each trained anew by one command; the package has all but those of published size.

Two are trained on renderings, whose notes and sources are known: the transcriber and the small
separator. The encoders are pre-trained on performances without labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from mer.clips import Clip
from mer.composing.planning import BLOCK
from mer.corpora import load
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.files import clear
from mer.models.onsets_frames import OnsetsFrames
from mer.paths import cache_folder, data_folder
from mer.prediction.training import train_song_model
from mer.rendering import find_soundfont, soundfont_digests
from mer.separation.demucs import small_network
from mer.separation.training import SeparatorOptions, train_separator
from mer.sounds import TRAINING_SOUNDFONTS
from mer.study.musicnn_weights import convert_wheel
from mer.study.pretraining import MIDIBERT_OBJECTIVES, MIDIBERT_OPTIONS, pretrain_encoder
from mer.training.rendered import (
    STEM_RATE,
    Take,
    midi_seconds,
    random_performance,
    random_stems,
    render_stems,
)
from mer.training.supervised import History, TrainingOptions, resolve_device, seed_everything
from mer.transcription.frames import FRAMES_PER_SECOND
from mer.transcription.training import (
    TranscriberOptions,
    render_excerpt,
    render_varied_excerpt,
    train_transcriber,
)
from mer.weights import register, weights_folder, write_weights

PERFORMANCE_SECONDS = 120.0
VALID_PERFORMANCE_SECONDS = 60.0
N_VALID_PERFORMANCES = 24

STEM_SECONDS = 30.0
TAKES_PER_SONG = 2
N_COMPOSED = 140
COMPOSED_SEED = 1000
"""Other songs than those that the study composes."""
N_VALID = 12
"""Validation mixes of each kind: composed clips, songs."""
N_TEST = 12
"""Songs of the test set."""
_SPLIT_SEED = 0

Job = tuple[Path, Take]


class Songs(NamedTuple):
    """Whole-song MIDI files, in parts that share no song."""

    train: list[Path]
    valid: list[Path]
    test: list[Path]


def songs() -> Songs:
    """The MIDI files of the MIREX-like mood dataset, without damaged ones.

    Raises
    ------
    MissingDataError
        If they are not there.
    """
    folder = data_folder() / "mirex_mood" / "MIDIs"
    paths = [path for path in sorted(folder.glob("*.mid")) if _readable(path)]
    if len(paths) <= N_VALID + N_TEST:
        raise MissingDataError(
            f"{folder} has {len(paths)} readable MIDI files; expected the 196 of the MIREX-like "
            "mood dataset: put it there, or point MER_DATA to the folder that has it"
        )
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(paths))
    test, valid, train = np.split(order, [N_TEST, N_TEST + N_VALID])
    return Songs(*([paths[i] for i in sorted(part)] for part in (train, valid, test)))


def _readable(path: Path) -> bool:
    try:
        return midi_seconds(path) > STEM_SECONDS
    except InvalidDataError:
        return False


def stem_jobs(n_soundfonts: int, seed: int) -> tuple[list[Job], list[Job]]:
    """Excerpts of composed bands and songs to train and to validate on, which share no music."""
    parts = songs()
    options = {"size": N_COMPOSED, "seed": COMPOSED_SEED, "duration": STEM_SECONDS}
    corpus = load("composed", arrangement="band", **options)
    bands = [clip.midi for clip in corpus if clip.midi is not None]
    # Songs do not cross the blocks that the corpus is composed in
    train = [*bands[:-BLOCK], *(path for path in parts.train for _ in range(TAKES_PER_SONG))]
    valid = [*bands[-N_VALID:], *parts.valid]
    rng = np.random.default_rng(seed)

    def jobs(paths: Iterable[Path]) -> list[Job]:
        return [(p, random_stems(midi_seconds(p), STEM_SECONDS, n_soundfonts, rng)) for p in paths]

    return jobs(train), jobs(valid)


def performance_jobs(n_soundfonts: int, seed: int) -> tuple[list[Job], list[Job]]:
    """One random excerpt of each performance of MAESTRO to train and to validate on."""
    corpus = load("maestro")
    fold = corpus.split("official").folds[0]

    def jobs(clips: Iterable[Clip], seconds: float, seed: int) -> list[Job]:
        known = [(clip.midi, clip.meta["duration"]) for clip in clips if clip.midi is not None]
        rng = np.random.default_rng(seed)
        return [(m, random_performance(float(d), seconds, n_soundfonts, rng)) for m, d in known]

    train = jobs(corpus.select(fold.train), PERFORMANCE_SECONDS, seed)
    valid = list(corpus.select(fold.valid))[:N_VALID_PERFORMANCES]
    return train, jobs(valid, VALID_PERFORMANCE_SECONDS, seed + 1)


@dataclass(frozen=True)
class Recipe:
    """How weights are trained on renderings: where `score` is best, on excerpts of `corpus`.

    `jobs` gives excerpts to train and to validate on, from the number of soundfonts (which must
    have the `instruments`) and the seed; `seconds` is the length of a rendered one. `soundfonts`
    are those of `mer.rendering.SOUNDFONTS` that play unless others are given.
    """

    name: str
    corpus: str
    instruments: str
    unit: str
    score: str
    decimals: int
    jobs: Callable[[int, int], tuple[list[Job], list[Job]]]
    render: Callable[[Path, Take, Sequence[Path]], Any]
    seconds: Callable[[Any], float]
    network: Callable[[], nn.Module]
    train: Callable[..., History]
    options: TrainingOptions
    soundfonts: tuple[str, ...] = ("TimGM6mb", "FluidR3")

    def __call__(self, path: Path, soundfonts: Sequence[Path], seed: int) -> dict[str, str]:
        """Train and store weights; what is stored with them comes back."""
        soundfonts = soundfonts or tuple(map(find_soundfont, self.soundfonts))
        digests = soundfont_digests(soundfonts, self.instruments)
        train, valid = (
            self._rendered(jobs, soundfonts) for jobs in self.jobs(len(soundfonts), seed)
        )
        seed_everything(seed)
        network = self.network()
        state = f"{self.name}-{seed}-{'-'.join(digests)}.pt"
        history = self.train(
            network,
            train,
            valid,
            self.options,
            seed=seed,
            device=resolve_device("auto"),
            checkpoint=cache_folder() / "checkpoints" / state,
            progress=True,
        )
        named = zip(soundfonts, digests, strict=True)
        best = history.epochs[history.best_epoch]["valid_accuracy"]
        facts = {
            "corpus": self.corpus,
            self.unit: str(len(train)),
            "hours": f"{sum(map(self.seconds, train)) / 3600:.1f}",
            "soundfonts": ", ".join(f"{path.name} {digest}" for path, digest in named),
            "seed": str(seed),
            "epochs": str(len(history.epochs)),
            f"validation_{self.score}": f"{best:.{self.decimals}f}",
        }
        write_weights(path, network.state_dict(), facts)
        return facts

    def _rendered(self, jobs: Sequence[Job], soundfonts: Sequence[Path]) -> list[Any]:
        from joblib import Parallel, delayed
        from tqdm.auto import tqdm

        calls = (delayed(self.render)(path, take, soundfonts) for path, take in jobs)
        results = Parallel(n_jobs=-1, return_as="generator")(calls)
        return list(tqdm(results, total=len(jobs), unit="excerpt", desc="rendering"))


TRANSCRIBER = Recipe(
    name="transcriber",
    corpus="MAESTRO v3, official training split",
    instruments="a piano",
    unit="performances",
    score="onset_f1",
    decimals=4,
    jobs=performance_jobs,
    render=render_excerpt,
    seconds=lambda excerpt: excerpt.levels.shape[2] / FRAMES_PER_SECOND,
    network=OnsetsFrames,
    train=train_transcriber,
    options=TranscriberOptions(),
)
VARIED_TRANSCRIBER = replace(
    TRANSCRIBER,
    name="transcriber-varied",
    render=render_varied_excerpt,
    soundfonts=TRAINING_SOUNDFONTS,
)
SEPARATOR = Recipe(
    name="separator",
    corpus="composed bands, MIDI songs of the MIREX-like mood dataset",
    instruments="all instruments of General MIDI",
    unit="excerpts",
    score="si_sdr",
    decimals=2,
    jobs=stem_jobs,
    render=render_stems,
    seconds=lambda stems: stems.shape[1] / STEM_RATE,
    network=small_network,
    train=train_separator,
    options=SeparatorOptions(),
)


Trainer = Callable[[Path, Sequence[Path], int], dict[str, str]]
"""Takes the file to write, soundfonts and the seed; gives how the weights were trained."""


def _encoder(objective: str, *corpora: str, size: str = "small") -> Trainer:
    return lambda path, _, seed: pretrain_encoder(
        objective, corpora, destination=path, size=size, seed=seed
    )


TRAINERS: dict[str, Trainer] = {
    "transcriber": TRANSCRIBER,
    VARIED_TRANSCRIBER.name: VARIED_TRANSCRIBER,
    "separator": SEPARATOR,
    "musicnn": convert_wheel,
    "song-emotion": train_song_model,
    "encoder-maestro": _encoder("notes", "maestro"),
    "encoder-maestro-pop1k7": _encoder("notes", "maestro", "pop1k7"),
    "encoder-maestro-published": _encoder("notes", "maestro", size="published"),
    "encoder-maestro-pop1k7-published": _encoder("notes", "maestro", "pop1k7", size="published"),
    **{
        f"{objective}-{size}": _encoder(objective, "maestro", "pop1k7", size=size)
        for objective, size in product(MIDIBERT_OBJECTIVES, MIDIBERT_OPTIONS)
    },
}
"""By name of the weights: what several papers use."""


def train_weights(
    name: str,
    *,
    soundfonts: Sequence[Path] = (),
    seed: int = 0,
    folder: Path | None = None,
    trainers: Mapping[str, Trainer] = TRAINERS,
) -> dict[str, str]:
    """Train weights, put them in their place and enter them in the index; how comes back.

    Earlier weights stay until the new ones are whole. An interrupted call, made again, goes on
    after its last epoch ("zhu2023", which takes minutes, begins anew).

    Parameters
    ----------
    name : str
        Among the trainers.
    soundfonts : sequence of Path
        SF2 files that play to the transcriber or the separator; the two that it was trained with
        if empty.
    folder : Path, optional
        Of the weights and their index; the package's if None.

    Raises
    ------
    ParameterError
        If there are no such weights.
    MissingDataError
        If a corpus, a soundfont or FluidSynth is missing.
    """
    if name not in trainers:
        raise ParameterError(f"there are no weights {name!r}; there are: {', '.join(trainers)}")
    folder = folder or weights_folder()
    path = folder / f"{name}.pt"
    clear(folder, cache_folder())
    facts = trainers[name](path, soundfonts, seed)
    register(path, f"mer train {name}")
    return facts
