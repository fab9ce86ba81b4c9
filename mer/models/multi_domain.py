"""Networks of Zhu et al. 2023: an acoustic and a symbolic encoder, joined by attention."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from mer.features.note_events import PAD
from mer.models.layers import CrossDomainAttention, Standardise, classifier, masked_mean
from mer.models.symbolic_encoder import SymbolicEncoder

REVISION = 1

CHANNELS = (64, 128, 256)
"""Of the three convolutions (Zhu et al., table 1)."""

TIME_FACTOR = 2 ** len(CHANNELS)
"""Frames that become one step of the acoustic encoder."""

Logits = dict[str, Tensor]
"""By name: "label", shape (batch, n_classes); "A" and "V", shape (batch,), where trained."""


class AcousticEncoder(nn.Module):
    """Three blocks of convolution, batch norm, ReLU and max-pooling on a mixed feature.

    Frequency is flattened into the channels and projected to `width`.

    Parameters
    ----------
    n_bins : int
        Rows of the feature, 8 or more.
    width : int
        Of the states.

    References
    ----------
    Zhu et al.: Symbolic & Acoustic: multi-domain music emotion modeling for instrumental music.
    2023, section 3.1 and table 1. Batch norm and the projection are not in that table.
    """

    def __init__(self, n_bins: int, width: int) -> None:
        super().__init__()
        self.standardise = Standardise(n_bins)
        blocks: list[nn.Module] = []
        for channels_in, channels_out in pairwise((1, *CHANNELS)):
            blocks += [
                nn.Conv2d(channels_in, channels_out, 3, stride=1, padding=1),
                nn.BatchNorm2d(channels_out),
                # Pooled first, the ReLU has a quarter of the work and gives the same.
                nn.MaxPool2d(2),
                nn.ReLU(),
            ]
        # torch wants `memory_format` by keyword, its stubs do not know it alone
        self.blocks = nn.Sequential(*blocks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.projection = nn.Linear(CHANNELS[-1] * (n_bins // TIME_FACTOR), width)

    def forward(self, feature: Tensor) -> Tensor:
        """States, shape (batch, frames // 8, width), of features, shape (batch, n_bins, frames)."""
        # Time before frequency: with channels last, flattening is then free.
        image = self.standardise(feature).transpose(1, 2).unsqueeze(1)
        maps = self.blocks(image.contiguous(memory_format=torch.channels_last))
        return self.projection(maps.permute(0, 2, 3, 1).flatten(2))


class AcousticOnly(nn.Module):
    """The acoustic branch alone: classifier and optional arousal head, on its mean over time."""

    def __init__(
        self, acoustic: AcousticEncoder, n_classes: int, *, dropout: float, arousal: bool
    ) -> None:
        super().__init__()
        self.acoustic = acoustic
        width = acoustic.projection.out_features
        self.classifier = classifier(width, width // 2, n_classes, dropout)
        self.arousal = nn.Linear(width, 1) if arousal else None

    def forward(self, feature: Tensor) -> Logits:
        """Logits of features, shape (batch, n_bins, frames)."""
        mean = self.acoustic(feature).mean(dim=1)
        return {"label": self.classifier(mean), **_head("A", self.arousal, mean)}


class SymbolicOnly(nn.Module):
    """The symbolic branch alone: classifier and optional valence head, on its mean over notes."""

    def __init__(
        self, symbolic: SymbolicEncoder, n_classes: int, *, dropout: float, valence: bool
    ) -> None:
        super().__init__()
        self.symbolic = symbolic
        self.classifier = classifier(symbolic.width, symbolic.width // 2, n_classes, dropout)
        self.valence = nn.Linear(symbolic.width, 1) if valence else None

    def forward(self, events: Tensor) -> Logits:
        """Logits of events, shape (batch, 5, n)."""
        mean = masked_mean(self.symbolic(events), is_note(events))
        return {"label": self.classifier(mean), **_head("V", self.valence, mean)}


class MultiDomain(nn.Module):
    """Both branches, joined by attention in both directions.

    Each branch attends to the other; the two outputs, averaged over time, go to the classifier.

    Parameters
    ----------
    acoustic : AcousticEncoder
    symbolic : SymbolicEncoder
        Of the same width.
    n_classes : int
    heads : int
        Of both cross-domain attentions.
    dropout : float
        In the classifier.
    arousal, valence : bool
        Whether the acoustic branch has an arousal head, and the symbolic branch a valence head,
        each on the branch's own features.

    References
    ----------
    Zhu et al.: Symbolic & Acoustic: multi-domain music emotion modeling for instrumental music.
    2023, figure 1 and section 3.3. The mean over time is our choice, as is the hidden layer of
    half the width in "a classifier".
    """

    def __init__(
        self,
        acoustic: AcousticEncoder,
        symbolic: SymbolicEncoder,
        n_classes: int,
        *,
        heads: int,
        dropout: float,
        arousal: bool,
        valence: bool,
    ) -> None:
        super().__init__()
        self.acoustic = acoustic
        self.symbolic = symbolic
        width = symbolic.width
        self.acoustic_attention = CrossDomainAttention(width, heads)
        self.symbolic_attention = CrossDomainAttention(width, heads)
        self.classifier = classifier(2 * width, width, n_classes, dropout)
        self.arousal = nn.Linear(width, 1) if arousal else None
        self.valence = nn.Linear(width, 1) if valence else None

    def forward(self, feature: Tensor, events: Tensor) -> Logits:
        """Logits of features, shape (batch, n_bins, frames), and events, shape (batch, 5, n)."""
        sound, notes, real = self.acoustic(feature), self.symbolic(events), is_note(events)
        from_sound = self.acoustic_attention(sound, notes, real).mean(dim=1)
        from_notes = masked_mean(self.symbolic_attention(notes, sound), real)
        return {
            "label": self.classifier(torch.cat([from_sound, from_notes], dim=1)),
            **_head("A", self.arousal, sound.mean(dim=1)),
            **_head("V", self.valence, masked_mean(notes, real)),
        }

    def attention_weights(self, feature: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of both attentions, for figures.

        Returns
        -------
        acoustic : Tensor, shape (batch, heads, frames // 8, n)
            How much each step of the sound attends to each note.
        symbolic : Tensor, shape (batch, heads, n, frames // 8)
            How much each note attends to each step of the sound.
        """
        sound, notes, real = self.acoustic(feature), self.symbolic(events), is_note(events)
        return (
            self.acoustic_attention.weights(sound, notes, real),
            self.symbolic_attention.weights(notes, sound),
        )


def is_note(events: Tensor) -> Tensor:
    """Columns of events, shape (batch, 5, n), that are no padding: shape (batch, n), bool."""
    return events[:, 0] != PAD


def _head(name: str, head: nn.Linear | None, mean: Tensor) -> Logits:
    return {} if head is None else {name: head(mean).squeeze(1)}
