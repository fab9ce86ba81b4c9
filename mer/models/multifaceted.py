"""Multimodal multifaceted network: branches for factors of emotion, joined by self-attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mer.features.tokens import PAD
from mer.models import layers
from mer.models.classifiers import residual_blocks
from mer.models.layers import CrossDomainAttention, Standardise, masked_mean

REVISION = 1
TOKEN_GRU_REVISION = 1

PITCH_CLASSES = 12
HORIZONTAL_KERNEL = 48
_LAYERS = 2


class TokenGRU(nn.Module):
    """Token embedding and bidirectional GRU layers, with the parameters of torch's own.

    It computes what `nn.Embedding` and a packed `nn.GRU` compute, in another order. On a CPU those
    spend most of their time between many small products. Here both directions share the products
    of a step; the contribution of a token to the first layer comes from a table instead of
    multiplied; the gradients of the weights are one product over all steps; and at padding the
    update gate keeps the state, so that a padded batch needs no packing and gives for each
    sequence what it gives alone.

    Parameters
    ----------
    vocabulary : int
        Number of tokens; token 0 is the padding.
    embedding, hidden : int
        Sizes of the embedding and of the state of each direction.
    layers : int

    References
    ----------
    Cho et al.: Learning phrase representations using RNN encoder-decoder for statistical machine
    translation. EMNLP 2014; with the reset gate after the product, as in cuDNN and torch.
    """

    def __init__(self, vocabulary: int, *, embedding: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.gru = nn.GRU(embedding, hidden, layers, bidirectional=True)
        self.width = 2 * hidden

    def forward(self, tokens: Tensor) -> Tensor:
        """States of both directions, each token seen from its left and from its right.

        Parameters
        ----------
        tokens : Tensor, shape (batch, n), int64
            Padded at the end; at least one token each.

        Returns
        -------
        Tensor, shape (batch, n, 2 * hidden)
            Values at padding are undefined.
        """
        if tokens.is_cuda:
            return self.packed(tokens)
        return self._by_layers(tokens)

    def packed(self, tokens: Tensor) -> Tensor:
        """The same by torch's own layers: the faster way on a GPU only."""
        lengths = (tokens != PAD).sum(dim=1).cpu()
        sequences = pack_padded_sequence(
            self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(
            self.gru(sequences)[0], batch_first=True, total_length=tokens.shape[1]
        )
        return states

    def _by_layers(self, tokens: Tensor) -> Tensor:
        padding = _both_ways((tokens == PAD).T)
        states = self._layer(0, self._token_inputs(tokens), padding)
        for layer in range(1, self.gru.num_layers):
            weight, bias = self._input_parameters(layer)
            sequences = _both_ways(states).flatten(1, 2)
            projected = torch.baddbmm(bias.unsqueeze(1), sequences, weight)
            states = self._layer(layer, projected.unflatten(1, states.shape[:2]), padding)
        return states.transpose(0, 1)

    def _token_inputs(self, tokens: Tensor) -> Tensor:
        """Input of the first layer's gates, shape (2, n, batch, 3 * hidden)."""
        weight, bias = self._input_parameters(0)
        vocabulary = self.embedding.num_embeddings
        table = torch.baddbmm(bias.unsqueeze(1), self.embedding.weight.expand(2, -1, -1), weight)
        second = torch.arange(2, device=tokens.device).view(2, 1, 1) * vocabulary
        rows = table.flatten(0, 1).to(bias.dtype)
        return functional.embedding(_both_ways(tokens.T) + second, rows)

    def _layer(self, layer: int, inputs: Tensor, padding: Tensor) -> Tensor:
        """States, shape (n, batch, 2 * hidden)."""
        weight = self._pair("weight_hh", layer).transpose(1, 2)
        bias = self._pair("bias_hh", layer)[:, None, 2 * self.gru.hidden_size :]
        kind = inputs.device.type
        if torch.is_autocast_enabled(kind):
            weight = weight.to(torch.get_autocast_dtype(kind))
        with torch.autocast(kind, enabled=False):
            states: Tensor = _Recurrence.apply(inputs.to(bias.dtype), weight, bias, padding)
        return torch.cat([states[0], states[1].flip(0)], dim=2)

    def _input_parameters(self, layer: int) -> tuple[Tensor, Tensor]:
        """Weights, (2, n_in, 3 * hidden), and biases; those of r and z hold the states' as well."""
        gates = 2 * self.gru.hidden_size
        recurrent = functional.pad(
            self._pair("bias_hh", layer)[:, :gates], (0, self.gru.hidden_size)
        )
        weight = self._pair("weight_ih", layer).transpose(1, 2)
        return weight, self._pair("bias_ih", layer) + recurrent

    def _pair(self, name: str, layer: int) -> Tensor:
        return torch.stack(
            [self.gru.get_parameter(f"{name}_l{layer}{end}") for end in ("", "_reverse")]
        )


def _multiply(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """Batches of matrix products, in the data type of `right`."""
    if left.dtype == right.dtype:
        return torch.bmm(left, right, out=out)
    return out.copy_(torch.bmm(left.to(right.dtype), right))


def _both_ways(sequence: Tensor) -> Tensor:
    """Shape (n, ...) to (2, n, ...): forwards and backwards."""
    return torch.stack([sequence, sequence.flip(0)])


class _Recurrence(torch.autograd.Function):
    """States of two GRUs, shape (2, n, batch, hidden), from the inputs of their gates r, z, n.

    Everything is done step by step: what belongs to a step stays in the processor's cache.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, padding: Tensor) -> Tensor:
        _, length, batch, width = inputs.shape
        hidden = width // 3
        gates = bias.new_empty(inputs.shape)
        candidates = bias.new_empty(2, length, batch, hidden)
        states = bias.new_zeros(2, length + 1, batch, hidden)
        sigmoid, of_sigmoid = (
            gates[..., : 2 * hidden].unbind(1),
            inputs[..., : 2 * hidden].unbind(1),
        )
        of_candidate, candidate = inputs[..., 2 * hidden :].unbind(1), candidates.unbind(1)
        reset, update, new = (part.unbind(1) for part in gates.split(hidden, dim=3))
        state, padded = states.unbind(1), padding.unsqueeze(3).unbind(1)
        for t, gate in enumerate(gates.unbind(1)):
            _multiply(state[t], weight, gate)
            sigmoid[t].add_(of_sigmoid[t]).sigmoid_()
            new[t].add_(bias)
            update[t].masked_fill_(padded[t], 1.0)
            torch.addcmul(of_candidate[t], reset[t], new[t], out=candidate[t]).tanh_()
            torch.lerp(candidate[t], state[t], update[t], out=state[t + 1])
        ctx.save_for_backward(weight, gates, candidates, states)
        return states[:, 1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        weight, gates, candidates, states = ctx.saved_tensors
        reset, update, new = (part.unbind(1) for part in gates.chunk(3, dim=3))
        candidate, state = candidates.unbind(1), states.unbind(1)
        of_gates, of_candidates = torch.empty_like(gates), torch.empty_like(candidates)
        of_reset, of_update, of_new = (part.unbind(1) for part in of_gates.chunk(3, dim=3))
        of_gate, of_candidate = of_gates.unbind(1), of_candidates.unbind(1)
        backwards = weight.transpose(1, 2)
        of_state = torch.zeros_like(state[0])
        sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
        tanh_backward = torch.ops.aten.tanh_backward.grad_input
        carried, product = torch.empty_like(of_state), torch.empty_like(of_state)
        for t, gradient in reversed(list(enumerate(gradients[0].unbind(1)))):
            of_state += gradient
            torch.mul(of_state, update[t], out=carried)
            tanh_backward(of_state - carried, candidate[t], grad_input=of_candidate[t])
            torch.mul(of_candidate[t], reset[t], out=of_new[t])
            through = of_candidate[t] * new[t]
            sigmoid_backward(through, reset[t], grad_input=of_reset[t])
            through = (state[t] - candidate[t]).mul_(of_state)
            sigmoid_backward(through, update[t], grad_input=of_update[t])
            torch.add(carried, _multiply(of_gate[t], backwards, product), out=of_state)
        before = states[:, :-1].flatten(1, 2).transpose(1, 2).to(weight.dtype)
        of_weight = before @ of_gates.flatten(1, 2).to(weight.dtype)
        hidden = candidates.shape[3]
        of_bias = of_gates[..., 2 * hidden :].sum(dim=(1, 2)).unsqueeze(1)
        of_gates[..., 2 * hidden :] = of_candidates
        return of_gates, of_weight, of_bias, None


class Branch(nn.Module):
    """Takes one input to a feature, shape (batch, `width`)."""

    width: int


class SymbolicBranch(Branch):
    """Melody, rhythm and dynamics: mean state of a two-layer Bi-GRU over MIDI-like tokens.

    Parameters
    ----------
    vocabulary : int
        Number of tokens; token 0 is the padding.
    embedding, hidden : int
        Sizes of the embedding and of the state of each direction.

    References
    ----------
    Zhao, Yoshii (2023), section III-A. The embedding and the mean over tokens are our choice.
    """

    def __init__(self, vocabulary: int, *, embedding: int, hidden: int) -> None:
        super().__init__()
        self.gru = TokenGRU(vocabulary, embedding=embedding, hidden=hidden, layers=_LAYERS)
        self.width = self.gru.width

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (batch, n), padded at the end, to (batch, 2 * hidden)."""
        return masked_mean(self.gru(tokens), tokens != PAD)


class HarmonyBranch(Branch):
    """Harmony: three vertical (12, 1), then three horizontal (1, 48) convolutions on a chromagram.

    Pitch classes form a circle: the first two vertical convolutions go around it, so that each
    pitch class sees the whole octave above and below; the third takes all twelve to one row, along
    which the horizontal ones run, padded with zeros. Each convolution is followed by batch norm and
    ReLU; the mean over time is the output.

    Parameters
    ----------
    channels : int
        Of every convolution.

    References
    ----------
    Zhao, Yoshii (2023), section III-B: number, order and sizes of the kernels. All else is our
    choice.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        tall = (PITCH_CLASSES, 1)
        self.vertical = nn.Sequential(
            *_normed(_around(1, channels)),
            *_normed(_around(channels, channels)),
            *_normed(nn.Conv2d(channels, channels, tall, bias=False)),
        )
        before = (HORIZONTAL_KERNEL - 1) // 2
        wide = (before, HORIZONTAL_KERNEL - 1 - before, 0, 0)
        horizontal: list[nn.Module] = []
        for _ in range(3):
            convolution = nn.Conv2d(channels, channels, (1, HORIZONTAL_KERNEL), bias=False)
            horizontal += [nn.ZeroPad2d(wide), *_normed(convolution)]
        self.horizontal = nn.Sequential(*horizontal)
        self.width = channels

    def forward(self, chroma: Tensor) -> Tensor:
        """Shape (batch, 12, frames) to (batch, channels)."""
        image = chroma.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        chords = self.vertical(image)
        progressions: Tensor = self.horizontal(chords)
        return progressions.mean(dim=(2, 3))


def _around(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Vertical convolution around the circle of pitch classes."""
    return nn.Conv2d(
        channels_in,
        channels_out,
        (PITCH_CLASSES, 1),
        padding="same",
        padding_mode="circular",
        bias=False,
    )


def _normed(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


class ToneColorBranch(Branch):
    """Tone colour: seven residual blocks of 3x3 convolutions on MFCCs, global max-pooling.

    The blocks are those of the short-chunk ResNet: padded, and of stride 2 in their first
    convolution and in their shortcut. Stride 2 in *every* convolution, as the text has it, would
    leave a single position after four of the seven.

    Parameters
    ----------
    n_mfcc : int
        Number of coefficients; each is standardised.
    channels : int
        Of the first block; blocks 3-6 have twice and block 7 four times as many.

    References
    ----------
    Zhao, Yoshii (2023), section III-C; Won et al. (2020).
    """

    def __init__(self, n_mfcc: int, channels: int) -> None:
        super().__init__()
        self.standardise = Standardise(n_mfcc)
        self.blocks, self.width = residual_blocks(channels)

    def forward(self, mfcc: Tensor) -> Tensor:
        """Shape (batch, n_mfcc, frames) to (batch, 4 * channels)."""
        image = self.standardise(mfcc).unsqueeze(1)
        maps: Tensor = self.blocks(image.contiguous(memory_format=torch.channels_last))
        return maps.amax(dim=(2, 3))


class Multifaceted(nn.Module):
    """One feature for each factor, self-attention among them, two fully connected layers.

    The sequence that attends to itself has one element a factor: the output of its branch, taken to
    a common width by a fully connected layer and layer norm. So an attention weight says how much
    of one factor goes into the new feature of another.

    Parameters
    ----------
    branches : mapping of str to Branch
        By factor.
    n_classes : int
    width : int
        Common width of the factors' features; a multiple of `heads`.
    heads : int or None
        Of the self-attention; None leaves it out.
    classifier : int
        Width of the hidden fully connected layer.
    dropout : float
        Before both fully connected layers.

    References
    ----------
    Zhao, Yoshii: Multimodal multifaceted music emotion recognition based on self-attentive fusion
    of psychology-inspired symbolic and acoustic features (2023), section III-D and equations 4-7.
    Widths, layer norm and dropout are our choice, as is what the elements of the sequence are.
    """

    def __init__(
        self,
        branches: Mapping[str, Branch],
        n_classes: int,
        *,
        width: int,
        heads: int | None,
        classifier: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(branches)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(branch.width, width), nn.LayerNorm(width))
            for branch in branches.values()
        )
        self.attention = None if heads is None else CrossDomainAttention(width, heads)
        size = width * len(branches)
        self.classifier = layers.classifier(size, classifier, n_classes, dropout)

    def factors(self, *inputs: Tensor) -> Tensor:
        """Features of the factors, shape (batch, n_factors, width); one input for each branch."""
        parts = zip(self.branches.values(), self.projections, inputs, strict=True)
        return torch.stack([project(branch(x)) for branch, project, x in parts], dim=1)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes); one input for each branch, in their order."""
        return self.logits(self.factors(*inputs))

    def logits(self, features: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes), of what `factors` gives."""
        if self.attention is not None:
            features = self.attention(features, features)
        return self.classifier(features.flatten(1))

    def attention_weights(self, *inputs: Tensor) -> Tensor:
        """Weights of the self-attention, shape (batch, heads, n_factors, n_factors).

        Rows, of the factor that attends, add up to 1 over the factors that are attended to.
        """
        assert self.attention is not None, "the network has no self-attention"
        features = self.factors(*inputs)
        return self.attention.weights(features, features)
