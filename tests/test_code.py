"""Functions and classes as hyper-parameters: what stands for them in the key of a run."""

from __future__ import annotations

import functools
import linecache
import textwrap
from itertools import count
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed

from mer.errors import ParameterError
from mer.features.tokens import remi
from mer.models.classifiers import LSTMAttn
from mer.systems.code import call, digest, plain

_NUMBERS = count()

FEATURE = """
    SCALE = 2.0

    def level(samples):
        return SCALE * np.abs(samples)

    def feature(samples, sample_rate):
        return level(samples)[::sample_rate]
"""
NETWORK = """
    class Block(nn.Module):
        def forward(self, x):
            return x + 1

    class feature(Block):
        def __init__(self, n_classes):
            super().__init__()
            self.out = nn.Linear(4, n_classes)

        def forward(self, x):
            return self.out(super().forward(x))
"""
DECORATED = """
    import functools

    FACTOR = 1

    def scaled(factor):
        def decorate(function):
            @functools.wraps(function)
            def wrapper(x):
                return factor * function(x)

            return wrapper

        return decorate

    @scaled(FACTOR)
    def feature(x):
        return x
"""
PARTIAL = """
    import functools

    def base(x, k):
        return k * x

    times = functools.partial(base, k=1)

    def feature(x):
        return times(x)
"""
CLASS_BODY = """
    FACTOR = 1

    class feature(nn.Module):
        width = FACTOR

        def forward(self, x):
            return self.width * x
"""


def cell(source: str) -> dict[str, Any]:
    """Names that a cell of a notebook defines, which has its source at hand as in IPython."""
    from torch import nn

    file, text = f"<cell {next(_NUMBERS)}>", textwrap.dedent(source)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"__name__": "__main__", "np": np, "nn": nn}
    exec(compile(text, file, "exec"), namespace)
    return namespace


def changed(source: str, old: str, new: str) -> str:
    assert old in source
    return source.replace(old, new)


class TestDigest:
    @pytest.mark.parametrize(
        ("source", "old", "new"),
        [
            (FEATURE, "    def feature", "    # a comment\n\n\n    def feature"),
            (FEATURE, "return level", '"""A docstring."""\n        return level'),
            (FEATURE, "(samples, sample_rate)", "(\n        samples, sample_rate\n    )"),
            (FEATURE, "SCALE = 2.0", "SCALE = 2.0\n    OTHER = 1"),
            (NETWORK, "    class feature", "    # a comment\n    class feature"),
            (NETWORK, "return self", '"""A docstring."""\n            return self'),
        ],
    )
    def test_layout_does_not_count(self, source: str, old: str, new: str) -> None:
        first, second = (cell(text)["feature"] for text in (source, changed(source, old, new)))
        assert digest(first) == digest(second)

    @pytest.mark.parametrize(
        ("source", "old", "new"),
        [
            (FEATURE, "[::sample_rate]", "[:sample_rate]"),
            (FEATURE, "np.abs", "np.square"),  # what it calls
            (FEATURE, "SCALE = 2.0", "SCALE = 3.0"),
            (FEATURE, "SCALE = 2.0", "SCALE = np.arange(2)"),
            (FEATURE, "sample_rate)", "sample_rate=2)"),
            (NETWORK, "self.out(", "2 * self.out("),
            (NETWORK, "x + 1", "x + 2"),  # of the class that it inherits from
            (NETWORK, "nn.Linear(4,", "nn.Linear(5,"),
            (DECORATED, "FACTOR = 1", "FACTOR = 7"),
            (DECORATED, "factor * function(x)", "factor + function(x)"),
            (PARTIAL, "k=1", "k=7"),
            (PARTIAL, "k * x", "k + x"),
            (CLASS_BODY, "FACTOR = 1", "FACTOR = 7"),
        ],
    )
    def test_code_and_what_stands_around_it_count(self, source: str, old: str, new: str) -> None:
        first, same = (cell(source)["feature"] for _ in range(2))
        assert digest(first) == digest(same)
        assert digest(first) != digest(cell(changed(source, old, new))["feature"])

    def test_later_cells_count(self) -> None:
        session = cell(FEATURE)
        before = digest(session["feature"])
        session["level"] = cell(changed(FEATURE, "np.abs", "np.square"))["level"]
        assert digest(session["feature"]) != before

    def test_values_of_an_enclosing_function_and_defaults_count(self) -> None:
        made = cell("""
            def power(exponent):
                def feature(samples):
                    return samples ** exponent
                return feature

            def gained(gain):
                def feature(samples, *, gain=gain):
                    return gain * samples
                return feature
        """)
        for make in (made["power"], made["gained"]):
            assert digest(make(2)) == digest(make(2))
            assert digest(make(2)) != digest(make(3))

    def test_functions_that_call_each_other(self) -> None:
        found = cell("""
            def even(n):
                return n == 0 or odd(n - 1)

            def odd(n):
                return n != 0 and even(n - 1)
        """)
        assert digest(found["even"]) != digest(found["odd"])


class TestPlain:
    def test_values_and_tuples(self) -> None:
        assert plain((1, ("a", None), 0.5)) == [1, ["a", None], 0.5]

    def test_code_of_the_package_is_a_name(self) -> None:
        assert plain((remi, LSTMAttn, LSTMAttn.forward)) == ["remi", "LSTMAttn", "LSTMAttn.forward"]

    @pytest.mark.parametrize("source", [FEATURE, NETWORK])
    def test_other_code_is_a_name_and_a_digest_in_every_process(self, source: str) -> None:
        code = cell(source)["feature"]
        known = {"name": "feature", "digest": digest(code)}
        assert plain(code) == known
        calls = [delayed(plain)(code)] * 2
        assert Parallel(n_jobs=2)(calls) == [known, known]

    @pytest.mark.parametrize(
        "code",
        [lambda samples: samples, functools.partial(remi), len, np.add],
        ids=["lambda", "partial", "built-in", "ufunc"],
    )
    def test_code_without_a_source(self, code: Any) -> None:
        with pytest.raises(ParameterError, match=r"source of .* is not at hand.*def or class"):
            plain(code)

    def test_a_method_of_an_object(self) -> None:
        with pytest.raises(ParameterError, match="is not at hand"):
            plain(cell(NETWORK)["feature"](4).forward)

    @pytest.mark.parametrize("names", [{}, {"__name__": "__main__"}])
    def test_code_from_a_text(self, names: dict[str, Any]) -> None:
        exec("def feature(samples):\n    return samples", names)
        with pytest.raises(ParameterError, match=r"the source of <function feature .* is not at"):
            plain(names["feature"])


class TestCall:
    def test_hands_over_options_that_are_taken(self) -> None:
        def feature(samples: list[int], n_fft: int, *, n_mels: int = 3) -> tuple[Any, ...]:
            return samples, n_fft, n_mels

        assert call(feature, [1], n_fft=2, n_mels=4, hop_length=5) == ([1], 2, 4)
        assert call(feature, [1], n_fft=2, hop_length=5) == ([1], 2, 3)

    def test_hands_over_all_where_all_are_taken(self) -> None:
        def feature(samples: int, **options: int) -> dict[str, int]:
            return options

        assert call(feature, 1, n_fft=2, hop_length=5) == {"n_fft": 2, "hop_length": 5}

    def test_class(self) -> None:
        network = call(LSTMAttn, 10, 4, embedding=3, hidden=2, attention=2, hops=2, sizes=1)
        assert network.embedding.weight.shape == (10, 3)
