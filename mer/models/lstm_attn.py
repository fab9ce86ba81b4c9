"""Bidirectional LSTM with structured self-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

REVISION = 1


class LSTMAttn(nn.Module):
    """Token embedding, BiLSTM, structured self-attention, two fully connected layers.

    Parameters
    ----------
    vocabulary : int
        Number of tokens; token 0 is the padding.
    n_classes : int
    embedding, hidden, attention, hops, classifier : int
        Sizes of the embedding, of the LSTM in each direction, of the attention's hidden layer,
        its number of hops r, and of the hidden fully connected layer.
    dropout : float
        Before the classifier.

    References
    ----------
    Lin et al.: A structured self-attentive sentence embedding. ICLR 2017, equations 5-7; sizes
    as in the EMOPIA baselines (Hung et al., ISMIR 2021).
    """

    def __init__(
        self,
        vocabulary: int,
        n_classes: int,
        *,
        embedding: int = 300,
        hidden: int = 128,
        attention: int = 128,
        hops: int = 14,
        classifier: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=0)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.attention = nn.Sequential(
            nn.Linear(2 * hidden, attention, bias=False),
            nn.Tanh(),
            nn.Linear(attention, hops, bias=False),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(2 * hidden * hops, classifier),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(classifier, n_classes),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes), of tokens, shape (batch, length), int64."""
        states, _ = self.lstm(self.embedding(tokens))
        weights = torch.softmax(self.attention(states), dim=1)
        hops = torch.bmm(weights.transpose(1, 2), states)
        logits: Tensor = self.classifier(hops.flatten(1))
        return logits
