"""Keys, chords and intervals in pitch-class histograms, from notes or from chroma.

A histogram has shape (..., 12): the weight of each pitch class, C first, not negative.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer.features.statistics import Array, entropy, mean, sd, shares

# Probe-tone ratings of Krumhansl & Kessler (1982), tonic first.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)

CHORDS = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "suspended": (0, 5, 7),
    "dominant7": (0, 4, 7, 10),
    "major7": (0, 4, 7, 11),
    "minor7": (0, 3, 7, 10),
}
"""Pitch classes of each chord quality, in semitones above the root."""

# Of the interval classes 1 to 6, in [0, 1].
_DISSONANCE = np.array([1.0, 0.6, 0.2, 0.15, 0.0, 0.5])


def key_strengths(histogram: Array) -> Array:
    """Correlation of pitch-class histograms with the 24 key profiles (Krumhansl-Schmuckler).

    Returns
    -------
    array, shape (..., 2, 12)
        Pearson correlation in [-1, 1] with the major (0) and the minor (1) key on each tonic; 0
        where the histogram is constant.

    References
    ----------
    Krumhansl, C. L.: Cognitive Foundations of Musical Pitch. Oxford University Press (1990), ch. 4.
    """
    profiles = np.array([[np.roll(p, tonic) for tonic in range(12)] for p in (_MAJOR, _MINOR)])
    return np.einsum("...p,mtp->...mt", _standardised(histogram), _standardised(profiles)) / 12


def chord_fit(histogram: Array) -> Array:
    """Cosine similarity of histograms with every chord of `CHORDS` on every root.

    Shape (..., len(CHORDS), 12), in [0, 1]; 0 where the histogram is empty.
    """
    templates = np.zeros((len(CHORDS), 12, 12))
    for quality, members in enumerate(CHORDS.values()):
        for root in range(12):
            templates[quality, root, (np.array(members) + root) % 12] = len(members) ** -0.5
    norm = np.linalg.norm(histogram, axis=-1, keepdims=True)
    direction = np.divide(histogram, norm, out=np.zeros_like(histogram), where=norm > 0)
    return np.einsum("...p,qrp->...qr", direction, templates)


def interval_classes(histogram: Array) -> Array:
    """Share of each interval class among the pairs of pitch classes that sound together.

    Shape (..., 6): classes 1 to 6, summing to 1; all 0 where fewer than two pitch classes sound.
    """
    pairs = np.stack(
        [(histogram * np.roll(histogram, -i, axis=-1)).sum(axis=-1) for i in range(1, 7)], axis=-1
    )
    pairs[..., 5] /= 2
    return shares(pairs)


def tonnetz(histogram: Array) -> Array:
    """Tonal centroid of pitch-class histograms, whose movement reflects harmonic change.

    Returns
    -------
    array, shape (..., 6)
        Coordinates on the circles of fifths, minor thirds and major thirds (radius 1, 1, 0.5).

    References
    ----------
    Harte, C., Sandler, M., Gasser, M.: Detecting Harmonic Change in Musical Audio. Proc. AMCMM
    (2006), equation 1.
    """
    angles = np.outer(np.pi * np.arange(12), [7 / 6, 3 / 2, 2 / 3])
    circles = np.stack([np.sin(angles), np.cos(angles)], axis=-1) * np.array([1, 1, 0.5])[:, None]
    return shares(histogram) @ circles.reshape(12, 6)


def describe_keys(total: Array, windows: Array) -> dict[str, float]:
    """Key, mode and scale degrees of a clip.

    Parameters
    ----------
    total, windows : array, shape (12,) and (n, 12), n >= 1
        Histogram of the whole clip, and of consecutive windows of several bars.

    Returns
    -------
    dict of str to float
        Best major and minor correlation and their difference (the mode), the same difference on
        the tonic of the best key, the lead of the best key over the next, the mode in the windows,
        and the share of each degree in semitones above that tonic. Unchanged by transposition.
    """
    strengths = key_strengths(total)
    tonic = int(strengths.max(axis=0).argmax())
    degrees = np.roll(shares(total), -tonic)
    runner_up, best = np.sort(strengths.ravel())[-2:]
    local = key_strengths(windows)
    modes = local[:, 0].max(axis=-1) - local[:, 1].max(axis=-1)
    return {
        "key_major": float(strengths[0].max()),
        "key_minor": float(strengths[1].max()),
        "key_mode": float(strengths[0].max() - strengths[1].max()),
        "key_parallel_mode": float(strengths[0, tonic] - strengths[1, tonic]),
        "key_clarity": float(best - runner_up),
        "key_window_strength": mean(local.max(axis=(1, 2))),
        "key_window_mode": mean(modes),
        "key_window_mode_sd": sd(modes),
        **{f"key_degree_{degree}": float(share) for degree, share in enumerate(degrees)},
    }


def describe_chords(windows: Array) -> dict[str, float]:
    """Chord qualities, harmonic motion and dissonance of a clip.

    Parameters
    ----------
    windows : array, shape (n, 12)
        Histograms of consecutive windows of about one chord; none empty.

    Returns
    -------
    dict of str to float
        Share of the windows that fit each of `CHORDS` best, how much better they fit major than
        minor triads, motion of the roots, change from window to window, and the interval classes.
        Unchanged by transposition.
    """
    profile = shares(windows)
    fit = chord_fit(profile)
    quality, root = _best_chord(profile, fit)
    motion = np.diff(root) % 12
    movement = np.linalg.norm(np.diff(tonnetz(profile), axis=0), axis=1)
    classes = interval_classes(profile).sum(axis=0) / max(len(profile), 1)
    return {
        **{f"chord_{name}": mean(quality == i) for i, name in enumerate(CHORDS)},
        "chord_mode": mean(fit[:, 0].max(axis=1) - fit[:, 1].max(axis=1)),
        "chord_fit": mean(fit.max(axis=(1, 2))),
        "chord_change_share": mean(motion != 0),
        "chord_fifth_share": mean((motion == 5) | (motion == 7)),
        "chord_root_entropy": entropy(np.bincount(root, minlength=12)),
        "chord_movement_mean": mean(movement),
        "chord_movement_sd": sd(movement),
        **{f"interval_class_{i + 1}": float(share) for i, share in enumerate(classes)},
        "interval_dissonance": float(classes @ _DISSONANCE),
    }


def _best_chord(profile: Array, fit: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Quality and root that fit each window best.

    Ties between chords are resolved by the weight of the root, then by the order of `CHORDS`;
    taking the first in the order of the pitches would depend on transposition.
    """
    preference = 1e-6 * profile[:, None, :] - 1e-8 * np.arange(len(CHORDS))[:, None]
    best = (fit + preference).reshape(len(fit), len(CHORDS) * 12).argmax(axis=1)
    return best // 12, best % 12


def _standardised(rows: Array) -> Array:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    sd = centred.std(axis=-1, keepdims=True)
    return np.divide(centred, sd, out=np.zeros_like(centred), where=sd > 1e-12)
