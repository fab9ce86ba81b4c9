"""Stacked bidirectional GRU on tokens, fast on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mer.features.tokens import PAD

REVISION = 1


class TokenGRU(nn.Module):
    """Token embedding and bidirectional GRU layers, with the parameters of torch's own.

    It computes what `nn.Embedding` and a packed `nn.GRU` compute, in another order. On a CPU those
    spend most of their time between many small products. Here both directions share the products
    of a step; what a token contributes to the first layer is looked up in a table instead of
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
            What stands at padding means nothing.
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
        states = self._layer(0, self._looked_up(tokens), padding)
        for layer in range(1, self.gru.num_layers):
            weight, bias = self._input_parameters(layer)
            sequences = _both_ways(states).flatten(1, 2)
            projected = torch.baddbmm(bias.unsqueeze(1), sequences, weight)
            states = self._layer(layer, projected.unflatten(1, states.shape[:2]), padding)
        return states.transpose(0, 1)

    def _looked_up(self, tokens: Tensor) -> Tensor:
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
        kept, product = torch.empty_like(of_state), torch.empty_like(of_state)
        for t, gradient in reversed(list(enumerate(gradients[0].unbind(1)))):
            of_state += gradient
            torch.mul(of_state, update[t], out=kept)
            tanh_backward(of_state - kept, candidate[t], grad_input=of_candidate[t])
            torch.mul(of_candidate[t], reset[t], out=of_new[t])
            through = of_candidate[t] * new[t]
            sigmoid_backward(through, reset[t], grad_input=of_reset[t])
            through = (state[t] - candidate[t]).mul_(of_state)
            sigmoid_backward(through, update[t], grad_input=of_update[t])
            torch.add(kept, _multiply(of_gate[t], backwards, product), out=of_state)
        before = states[:, :-1].flatten(1, 2).transpose(1, 2).to(weight.dtype)
        of_weight = before @ of_gates.flatten(1, 2).to(weight.dtype)
        hidden = candidates.shape[3]
        of_bias = of_gates[..., 2 * hidden :].sum(dim=(1, 2)).unsqueeze(1)
        of_gates[..., 2 * hidden :] = of_candidates
        return of_gates, of_weight, of_bias, None
