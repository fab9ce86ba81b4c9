"""Code as a hyper-parameter: functions and classes of systems, and what stands for them."""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import joblib
import numpy as np

from mer.errors import ParameterError

_PACKAGE = "mer"
_NOTE = "_digest_of_source"


def plain(value: Any) -> Any:
    """A hyper-parameter as JSON has it.

    Tuples become lists. A function or class of this package becomes its name, such as "remi",
    since revision numbers tell when its results change. Any other, such as one that a notebook
    defines, becomes its name and a digest of its source.

    Raises
    ------
    ParameterError
        If the source is not at hand, see `digest`.
    """
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if not callable(value):
        return value
    name = getattr(value, "__qualname__", None)
    if name is None or "<lambda>" in name or inspect.ismethod(value):
        raise _no_source(value)
    is_own = (value.__module__ or "").split(".")[0] == _PACKAGE
    return name if is_own else {"name": name, "digest": _known_digest(value)}


def _known_digest(code: Any) -> str:
    """Digest of code, which takes it along where it goes: other processes get no source."""
    try:
        found = digest(code)
    except ParameterError:
        note: str | None = getattr(code, "__dict__", {}).get(_NOTE)
        if note is None:
            raise
        return note
    setattr(code, _NOTE, found)
    return found


def digest(code: Callable[..., Any]) -> str:
    """SHA-256 (16 digits) over the source of a function or class, and of what it calls beside it.

    Comments, docstrings and layout do not count. What it calls, inherits or is decorated with
    counts as far as it is defined in the same module (a notebook, for example); values that it
    reads there, those of an enclosing function and default values count, too.

    Raises
    ------
    ParameterError
        If the source is not at hand.
    """
    own, *others = _parts(code, set())
    return hashlib.sha256("\n".join([own, *sorted(others)]).encode()).hexdigest()[:16]


def _parts(code: Any, seen: set[int]) -> Iterator[str]:
    if id(code) in seen:
        return
    seen.add(id(code))
    yield _tree(code)
    for name, value in _values_outside(code):
        if isinstance(value, functools.partial):
            yield f"{name} = {joblib.hash((value.args, value.keywords))}"
            value = value.func
        if inspect.isfunction(value) or inspect.isclass(value):
            if value.__module__ == code.__module__:
                yield from _parts(value, seen)
        elif not (inspect.ismodule(value) or inspect.isbuiltin(value)):
            yield f"{name} = {joblib.hash(value)}"


def _values_outside(code: Any) -> Iterator[tuple[str, Any]]:
    """What a function, or a class and its methods, take from outside, by name."""
    if inspect.isclass(code):
        yield from ((base.__name__, base) for base in code.__bases__)
        known = next((f.__globals__ for f in _functions(code)), {})
        used = {node.id for node in ast.walk(_parsed(code)) if isinstance(node, ast.Name)}
        yield from ((name, known[name]) for name in sorted(used) if name in known)
    for function in _functions(code):
        names = function.__code__.co_freevars
        cells = (cell.cell_contents for cell in function.__closure__ or ())
        yield from zip(names, cells, strict=True)
        yield from enumerate(function.__defaults__ or ())
        yield from (function.__kwdefaults__ or {}).items()
        known = function.__globals__
        yield from ((n, known[n]) for n in _global_names(function.__code__) if n in known)


def _functions(code: Any) -> list[FunctionType]:
    parts = vars(code).values() if inspect.isclass(code) else [code]
    bare = [getattr(part, "__func__", getattr(part, "fget", part)) for part in parts]
    return [part for part in bare if inspect.isfunction(part)]


def _global_names(code: CodeType) -> set[str]:
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return names.union(*map(_global_names, inner))


def _tree(code: Any) -> str:
    try:
        tree = _parsed(code)
    except (OSError, TypeError, SyntaxError, IndexError, StopIteration):
        raise _no_source(code) from None
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _parsed(code: Any) -> ast.AST:
    try:
        # The code of a function is its own; its source, that of what it wraps
        source = inspect.getsource(getattr(code, "__code__", code))
        return ast.parse(textwrap.dedent(source))
    except (OSError, TypeError):
        # inspect does not find classes of a notebook, but the cells of their methods
        if not inspect.isclass(code):
            raise
    lines, line = inspect.findsource(_functions(code)[0])
    classes = (n for n in ast.walk(ast.parse("".join(lines))) if isinstance(n, ast.ClassDef))
    spans = (n for n in classes if n.lineno - 1 <= line < (n.end_lineno or 0))
    return next(n for n in spans if n.name == code.__name__)


def _no_source(code: Any) -> ParameterError:
    return ParameterError(
        f"the source of {code!r} is not at hand, so results of it could not be told from others; "
        "define it with def or class in a cell or a file"
    )


def _is_text(node: ast.AST) -> bool:
    constant = node.value if isinstance(node, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A function called with those of some options that it takes.

    So a feature may take the settings of its system (`n_fft`, `n_mels`), or ignore them.

    Raises
    ------
    ParameterError
        If it cannot be called so.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known = {parameter.name for parameter in parameters}
        options = {name: value for name, value in options.items() if name in known}
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        given = f"{len(arguments)} arguments and {', '.join(options) or 'no options'}"
        raise ParameterError(
            f"{name_of(function)} cannot be called with {given}: {error}"
        ) from None
    return function(*arguments, **options)


def name_of(code: Any) -> str:
    """Of a function or class, for messages."""
    return str(getattr(code, "__name__", code))


def real_array(function: Callable[..., Any], values: Any, n_dimensions: int) -> np.ndarray:
    """What a feature function gave, as an array of real numbers.

    Raises
    ------
    ParameterError
        If it is something else, or has another number of dimensions.
    """
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind in "fiub" and array.ndim == n_dimensions:
        return array
    found = f"an array of shape {array.shape} and type {array.dtype}"
    raise ParameterError(
        f"feature {name_of(function)} gave {found if array.ndim else repr(values)}; expected real "
        f"numbers in {n_dimensions} dimension{'s' * (n_dimensions > 1)}"
    )
