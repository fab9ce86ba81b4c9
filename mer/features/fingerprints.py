"""Pieces that share notes: two transcriptions of one recording, or an excerpt and its whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_SHARE = 0.4
"""Share of coinciding notes above which two pieces count as the same performance.

Measured between the 1,078 clips of EMOPIA and the 1,748 pieces of Pop1K7, transcribed by different
programs: 40 pairs reach .78 to .96, one .54, and all others stay below .35. By piece of Pop1K7 the
best share is .84 or more for 12 pieces, .54 for one, and below .27 for all others. Between EMOPIA
and 706 performances of MAESTRO, where no recording can be the same, the highest share is .22.
"""

_GRAM = 3
_INTERVAL_SECONDS = 0.1
_INTERVALS = 16
_OFFSET_SECONDS = 0.2
_ONSET_SECONDS = 0.05
_LEAST_VOTES = 3
_LEAST_VOTE_SHARE = 0.02
_PITCH_SPACING = 1e6


@dataclass(frozen=True, slots=True)
class SharedNotes:
    """Indices of two pieces that share notes, how many, and where.

    The share is that of the notes of the shorter one (the one with fewer notes) which the other
    has at the same pitch within 50 ms, when the two are aligned; in [0, 1]. The offset is the
    time in the piece minus the time in the reference, in seconds.
    """

    piece: int
    reference: int
    share: float
    offset: float


def shared_pieces(
    pieces: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    *,
    least: float = LEAST_SHARE,
) -> list[SharedNotes]:
    """Pairs of a piece and a reference that share notes at one time offset.

    Runs of three notes (pitches, and intervals between onsets in units of 100 ms) are looked up
    in an inverted index; those found vote for a pair and a time offset, as landmarks do in audio
    fingerprinting [1]_. A pair and offset with enough votes is aligned and its coinciding notes
    are counted. Transcriptions of one recording by different programs match, whatever the
    cut; transposed or retimed copies and other performances of the same song are not.

    Parameters
    ----------
    pieces, references : sequence of np.ndarray, shape (n_notes, 4)
        As from `mer.features.notes.read_notes`. Pieces of a few dozen notes or less can reach
        the threshold by chance; with less than three notes a piece matches nothing.
    least : float
        Least share of a pair that is reported.

    Returns
    -------
    list of SharedNotes
        By piece, then reference; each pair once, at its best offset.

    References
    ----------
    .. [1] A. Wang: An industrial-strength audio search algorithm. ISMIR 2003.
    """
    index = _Index(pieces)
    keys = [_onset_keys(notes) for notes in pieces]
    best: dict[tuple[int, int], SharedNotes] = {}
    for number, reference in enumerate(references):
        reference_keys = _onset_keys(reference)
        for piece, offset in index.candidates(reference):
            share = _share(reference_keys, keys[piece], offset)
            known = best.get((piece, number))
            if share >= least and (known is None or share > known.share):
                best[piece, number] = SharedNotes(piece, number, share, offset)
    return [best[pair] for pair in sorted(best)]


class _Index:
    """Piece and onset of each n-gram, sorted by n-gram."""

    def __init__(self, pieces: Sequence[np.ndarray]) -> None:
        grams = [_grams(notes) for notes in pieces]
        self.counts = np.asarray([len(values) for values, _ in grams], dtype=np.int64)
        values = np.concatenate([np.empty(0, np.int64), *(values for values, _ in grams)])
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        self.onsets = np.concatenate([np.empty(0), *(onsets for _, onsets in grams)])[order]
        self.pieces = np.repeat(np.arange(len(pieces)), self.counts)[order]

    def candidates(self, notes: np.ndarray) -> Iterator[tuple[int, float]]:
        """Pieces, and their offsets from these notes, that enough n-grams vote for."""
        values, onsets = _grams(notes)
        first = np.searchsorted(self.values, values, side="left")
        counts = np.searchsorted(self.values, values, side="right") - first
        where = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        offsets = self.onsets[where] - np.repeat(onsets, counts)
        # Two grids of bins, so that no offset is near the edge of both.
        for shift in (0.0, 0.5):
            bins = np.floor(offsets / _OFFSET_SECONDS + shift).astype(np.int64)
            yield from self._elected(self.pieces[where], bins, offsets, len(values))

    def _elected(
        self, pieces: np.ndarray, bins: np.ndarray, offsets: np.ndarray, n_grams: int
    ) -> Iterator[tuple[int, float]]:
        order = np.lexsort((offsets, bins, pieces))
        pieces, bins, offsets = pieces[order], bins[order], offsets[order]
        change = (np.diff(pieces, prepend=-1) != 0) | (np.diff(bins, prepend=0) != 0)
        starts = np.flatnonzero(change)
        votes = np.diff(starts, append=len(pieces))
        shorter = np.minimum(n_grams, self.counts[pieces[starts]])
        enough = votes >= np.maximum(_LEAST_VOTES, _LEAST_VOTE_SHARE * shorter)
        for start, n in zip(starts[enough].tolist(), votes[enough].tolist(), strict=True):
            yield int(pieces[start]), float(offsets[start + n // 2])


def _grams(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of notes as integers, and the onset of the first note of each."""
    notes = notes[np.lexsort((notes[:, 2], notes[:, 0]))]
    n = max(len(notes) - _GRAM + 1, 0)
    pitches = notes[:, 2].astype(np.int64)
    steps = np.rint(np.diff(notes[:, 0]) / _INTERVAL_SECONDS).astype(np.int64)
    values = np.zeros(n, dtype=np.int64)
    for k in range(_GRAM):
        values = values * 128 + pitches[k : k + n]
    for k in range(_GRAM - 1):
        values = values * _INTERVALS + np.minimum(steps[k : k + n], _INTERVALS - 1)
    return values, notes[:n, 0]


def _onset_keys(notes: np.ndarray) -> np.ndarray:
    """Onsets, ascending, each pitch on a stretch of its own."""
    return np.sort(notes[:, 2] * _PITCH_SPACING + notes[:, 0])


def _share(reference: np.ndarray, piece: np.ndarray, offset: float) -> float:
    """Share of the shorter one's notes that the other has, too."""
    moved = reference + offset
    few, many = (moved, piece) if len(moved) <= len(piece) else (piece, moved)
    first = np.searchsorted(many, few - _ONSET_SECONDS, side="left")
    after = np.searchsorted(many, few + _ONSET_SECONDS, side="right")
    return float(np.mean(after > first))
