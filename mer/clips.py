"""Clips and corpora: what every loader returns and everything above consumes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import pandas as pd

from mer.errors import InvalidDataError, MissingDataError, ParameterError


@dataclass(frozen=True, slots=True)
class Labels:
    """Emotion labels of one clip; None where the dataset has none.

    Attributes
    ----------
    quadrant : int or None
        Russell's quadrant, 1-4: Q1 = high valence, high arousal; Q2 = low valence, high
        arousal; Q3 = low valence, low arousal; Q4 = high valence, low arousal.
    valence, arousal : float or None
        Continuous annotation, in [-1, 1].
    cluster : int or None
        Mood cluster, counted from 1.
    """

    quadrant: int | None = None
    valence: float | None = None
    arousal: float | None = None
    cluster: int | None = None

    def __post_init__(self) -> None:
        if self.quadrant is not None and self.quadrant not in (1, 2, 3, 4):
            raise InvalidDataError(f"quadrant is {self.quadrant!r}; expected 1, 2, 3 or 4")
        for name in ("valence", "arousal"):
            value = getattr(self, name)
            if value is not None and not -1.0 <= value <= 1.0:
                raise InvalidDataError(f"{name} is {value!r}; expected a number in [-1, 1]")


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled excerpt of music.

    Its `id` is unique within its corpus. The `group` must not cross a split: it is the song, or
    the artist where known. Files are None where the dataset has none. Anything else that the
    dataset tells is in `meta`, as JSON-native values.
    """

    id: str
    group: str
    audio: Path | None = None
    midi: Path | None = None
    labels: Labels = field(default_factory=Labels)
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fold:
    """Clip ids of one train / validation / test partition."""

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A named partition, or several of them for cross-validation.

    Only a split with groups on both sides is `leaky`: published so, or made to show what that is
    worth.
    """

    name: str
    folds: tuple[Fold, ...]
    leaky: bool = False


class Corpus(Sequence[Clip]):
    """An ordered, immutable collection of clips.

    Parameters
    ----------
    name : str
    clips : iterable of Clip
        Ids must be unique.
    licence, citation : str
    splits : mapping of str to callable, optional
        Each makes a `Split` of this corpus when it is first asked for.
    expected : mapping of str to int, optional
        Counts that `check` compares: "clips", "groups", "Q1" ... "Q4".

    Raises
    ------
    InvalidDataError
        If an id stands twice, an id or a group is no text, a file is no Path, or the corpus is
        empty.
    """

    def __init__(
        self,
        name: str,
        clips: Iterable[Clip],
        *,
        licence: str,
        citation: str,
        splits: Mapping[str, Callable[[Corpus], Split]] | None = None,
        expected: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.clips = tuple(clips)
        self.licence = licence
        self.citation = citation
        self._split_makers = MappingProxyType(dict(splits or {}))
        self.expected = MappingProxyType(dict(expected or {}))
        if not self.clips:
            raise InvalidDataError(f"corpus {name!r} has no clips")
        for clip in self.clips:
            if not isinstance(clip, Clip):
                raise InvalidDataError(
                    f"corpus {name!r}: a clip is {clip!r}; expected a mer.clips.Clip"
                )
            _check_text(f"corpus {name!r}: clip id", clip.id)
            _check_text(f"corpus {name!r}: group of clip {clip.id!r}", clip.group)
            for kind, path in (("audio", clip.audio), ("midi", clip.midi)):
                if not isinstance(path, Path | None):
                    raise InvalidDataError(
                        f"corpus {name!r}: {kind} of clip {clip.id!r} is {path!r}; expected a "
                        "pathlib.Path or None"
                    )
        twice = [clip_id for clip_id, n in Counter(c.id for c in self.clips).items() if n > 1]
        if twice:
            raise InvalidDataError(f"corpus {name!r}: clip id {twice[0]!r} stands more than once")
        self._index = {clip.id: i for i, clip in enumerate(self.clips)}

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Clip, ...]: ...
    def __getitem__(self, index: int | slice) -> Clip | tuple[Clip, ...]:
        return self.clips[index]

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    def __repr__(self) -> str:
        return f"Corpus({self.name!r}, {len(self)} clips, {len(set(self.groups))} groups)"

    @property
    def ids(self) -> list[str]:
        """Clip ids, in order."""
        return [clip.id for clip in self.clips]

    @property
    def groups(self) -> list[str]:
        """Group of each clip, in order."""
        return [clip.group for clip in self.clips]

    @property
    def split_names(self) -> list[str]:
        """Names that `split` knows."""
        return list(self._split_makers)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, groups, labels and the bytes of every file (hexadecimal)."""
        digest = hashlib.sha256()
        for clip in self.clips:
            labels = [clip.labels.quadrant, clip.labels.valence, clip.labels.arousal]
            row = [clip.id, clip.group, *labels, clip.labels.cluster]
            row += [file_digest(path) for path in (clip.audio, clip.midi) if path is not None]
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()

    def select(self, ids: Iterable[str]) -> Corpus:
        """The clips with these ids, in the order given, as a corpus without splits.

        Raises
        ------
        MissingDataError
            If the corpus has no clip of that id.
        """
        ids = list(ids)
        unknown = [clip_id for clip_id in ids if clip_id not in self._index]
        if unknown:
            raise MissingDataError(
                f"corpus {self.name!r} has no clip {unknown[0]!r} ({len(unknown)} ids unknown)"
            )
        return Corpus(
            self.name,
            [self.clips[self._index[clip_id]] for clip_id in ids],
            licence=self.licence,
            citation=self.citation,
        )

    def split(self, name: str) -> Split:
        """The split of that name, checked.

        Every id must be known, no clip may stand twice in a fold, and unless the split is marked
        leaky no group may stand in two of its parts.

        Raises
        ------
        ParameterError
            If there is no split of that name.
        InvalidDataError
            If the split breaks one of the rules above.
        """
        if name not in self._split_makers:
            raise ParameterError(
                f"corpus {self.name!r} has no split {name!r}; "
                f"it has: {', '.join(self.split_names) or 'none'}"
            )
        split = self._split_makers[name](self)
        for number, fold in enumerate(split.folds):
            self._check_fold(f"split {name!r}, fold {number}", fold, split.leaky)
        return split

    def _check_fold(self, where: str, fold: Fold, leaky: bool) -> None:
        parts = {"train": fold.train, "valid": fold.valid, "test": fold.test}
        for part, ids in parts.items():
            unknown = [clip_id for clip_id in ids if clip_id not in self._index]
            if unknown:
                raise InvalidDataError(
                    f"{where}: {part} names {len(unknown)} clips that corpus {self.name!r} "
                    f"does not have, the first is {unknown[0]!r}"
                )
            twice = [clip_id for clip_id, n in Counter(ids).items() if n > 1]
            if twice:
                raise InvalidDataError(
                    f"{where}: clip {twice[0]!r} stands more than once in {part}"
                )
        keyed: list[tuple[str, Callable[[str], str]]] = [("clip", str)]
        if not leaky:
            keyed.append(("group", lambda clip_id: self.clips[self._index[clip_id]].group))
        for what, key in keyed:
            owner: dict[str, str] = {}
            for part, ids in parts.items():
                for value in {key(clip_id) for clip_id in ids}:
                    if value in owner:
                        raise InvalidDataError(
                            f"{where}: {what} {value!r} stands in {owner[value]} and in {part}"
                        )
                    owner[value] = part

    def counts(self) -> dict[str, int]:
        """Number of clips, groups, clips of each quadrant, and files of each kind."""
        quadrants = Counter(clip.labels.quadrant for clip in self.clips)
        return {
            "clips": len(self),
            "groups": len(set(self.groups)),
            **{f"Q{q}": quadrants[q] for q in (1, 2, 3, 4)},
            "audio": sum(clip.audio is not None for clip in self.clips),
            "midi": sum(clip.midi is not None for clip in self.clips),
        }

    def check(self) -> None:
        """Compare the counts with the published ones.

        Raises
        ------
        InvalidDataError
            On the first count that differs.
        """
        found = self.counts()
        for name, expected in self.expected.items():
            if found[name] != expected:
                raise InvalidDataError(
                    f"corpus {self.name!r}: found {found[name]} {name}, expected {expected}"
                )

    def to_frame(self) -> pd.DataFrame:
        """One row a clip: id, group, quadrant, valence, arousal, cluster."""
        return pd.DataFrame(
            [{"id": clip.id, "group": clip.group, **asdict(clip.labels)} for clip in self.clips]
        )


def _check_text(what: str, value: Any) -> None:
    """Raise an InvalidDataError unless a value is a line of text that a file in UTF-8 can hold."""
    if not isinstance(value, str) or "\n" in value or "\r" in value:
        raise InvalidDataError(f"{what} is {value!r}; expected one line of text (str)")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidDataError(
            f"{what} is {value!r}, which comes from a name that is not UTF-8; rename the file"
        ) from None


def quadrant_of(valence: float, arousal: float) -> int:
    """Russell's quadrant, 1-4; zero counts as low."""
    if arousal > 0:
        return 1 if valence > 0 else 2
    return 4 if valence > 0 else 3


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes (hexadecimal).

    Raises
    ------
    MissingDataError
        If there is no such file.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise MissingDataError(f"{path} does not exist") from None
