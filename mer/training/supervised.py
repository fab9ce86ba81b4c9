"""One supervised training loop for every network of the study."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from inspect import get_annotations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mer.errors import InvalidDataError, ParameterError
from mer.files import atomic_path, read_sealed, write_sealed

Batch = tuple[Any, Tensor]
"""Inputs, a Tensor or a tuple of them (one for each argument of the network), and targets."""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a network is trained.

    Attributes
    ----------
    epochs : int
        At most.
    patience : int
        Epochs without a better validation score after which training stops.
    batch_size : int
    learning_rate, weight_decay : float
        Of Adam.
    schedule : {"constant", "cosine", "plateau"}
        Learning rate over the epochs: constant; one cosine to zero over `epochs`; or halved
        when more than `patience // 3` epochs bring no better validation score.
    clip_norm : float
        Largest norm of the gradient.
    """

    epochs: int = 100
    patience: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        for kind in type(self).__mro__:
            if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
                for name in get_annotations(kind):
                    _check_range(name, getattr(self, name))


_LARGEST = 1e300
"""Of a hyper-parameter; whole numbers have no infinity."""


def _check_range(name: str, value: Any) -> None:
    """Raise a ParameterError if a number is not finite, or out of the range of what it is."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    may_be_zero = name in ("dropout", "weight_decay", "sound_copies") or name.endswith("_weight")
    if not abs(value) <= _LARGEST:  # not so for NaN
        expected = "a finite number"
    elif name == "dropout" and not 0 <= value < 1:
        expected = "0 or more, less than 1"
    elif value < 0 or (value == 0 and not may_be_zero):
        expected = "0 or more" if may_be_zero else "more than 0"
    else:
        return
    raise ParameterError(f"{name} is {value}; expected {expected}")


@dataclass(frozen=True)
class Score:
    """Validation result of an epoch; the greater tuple (accuracy, -loss) is the better one."""

    accuracy: float
    loss: float

    @staticmethod
    def of(values: np.ndarray, targets: np.ndarray) -> Score:
        """Score of class probabilities, shape (n, n_classes), for targets, shape (n,)."""
        chosen = values[np.arange(len(targets)), targets]
        loss = float(-np.log(np.maximum(chosen, 1e-12)).mean())
        return Score(accuracy=float((values.argmax(axis=1) == targets).mean()), loss=loss)

    @property
    def order(self) -> tuple[float, ...]:
        """What epochs are compared by; the first number also steers the learning rate."""
        return (self.accuracy, -self.loss)

    @property
    def row(self) -> dict[str, float]:
        """Row of the history."""
        return {"valid_loss": self.loss, "valid_accuracy": self.accuracy}


@dataclass(frozen=True)
class RegressionScore:
    """Validation result of an epoch of a regression; the lower root mean squared error is better.

    It is taken over clips and dimensions together.
    """

    rmse: float

    @property
    def order(self) -> tuple[float, ...]:
        return (-self.rmse,)

    @property
    def row(self) -> dict[str, float]:
        return {"valid_rmse": self.rmse}


AnyScore = Score | RegressionScore


@dataclass
class History:
    """What training went through, a row an epoch."""

    epochs: list[dict[str, float]]
    best_epoch: int


def resolve_device(device: str) -> torch.device:
    """The device of that name; "auto" takes a GPU where there is one.

    Raises
    ------
    ParameterError
        If there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ParameterError(f"device is {device!r}; expected auto, cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ParameterError(f"device is {device!r}, but this machine has no CUDA device")
    return torch.device(device)


@contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """bfloat16 autocast where the processor computes in bfloat16, else a context without effect."""
    if device.type == "cuda":
        with torch.autocast("cuda", torch.bfloat16):
            yield
    elif torch.cpu._is_avx512_bf16_supported():
        with torch.autocast("cpu", torch.bfloat16), _SomeInFloat32():
            yield
    else:
        yield


class _SomeInFloat32(TorchFunctionMode):
    """Convolutions that torch 2.13 computes wrongly in bfloat16 on a CPU, in float32.

    With strides over inputs of width 1 a part of their weight gradients is uninitialised. With 2 to
    15 input channels and wide kernels the output is another one, on processors with AMX.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func in (torch.conv1d, torch.conv2d) and _is_wrong(*args, **given):
            with torch.autocast("cpu", enabled=False):
                tensors = [part.float() if isinstance(part, Tensor) else part for part in args]
                return func(*tensors, **given)
        return func(*args, **given)


def _is_wrong(x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, *others: Any) -> bool:
    step = stride if isinstance(stride, int) else stride[-1]
    channels, width = weight.shape[1], weight.shape[-1]
    is_wide = 1 < channels < 16 and channels * width >= 64
    return (x.shape[-1] == 1 < step or is_wide) and torch.is_autocast_enabled("cpu")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries draw from the global generator
    torch.manual_seed(seed)


def train(
    network: nn.Module,
    batches: Callable[[np.random.Generator], Iterable[Batch]],
    validate: Callable[[nn.Module], AnyScore],
    options: TrainingOptions,
    *,
    loss: Callable[[Any, Tensor], Tensor] = nn.functional.cross_entropy,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> History:
    """Train a network and leave it with the parameters of its best validation epoch.

    Parameters
    ----------
    network : nn.Module
        Trained in place.
    batches : callable
        Gives the batches of an epoch from a generator of its own, seeded by `seed` and the epoch.
    validate : callable
        Gives the score of the network, in evaluation mode.
    loss : callable
        Of the network's output (float32) and the targets.
    checkpoint : Path, optional
        File that the state is written to after every epoch. Where it exists, training goes on
        from it, with the same result as if it had not been interrupted; it is removed at the end.

    Raises
    ------
    InvalidDataError
        If the loss of a batch or the validation score is not finite; the message names the epoch.
    """
    network.to(device)
    state = _State(network, options, seed)
    if checkpoint is not None and checkpoint.is_file():
        state.load(checkpoint)
    bar = _progress_bar(options.epochs, state.epoch) if progress else None
    while state.epoch < options.epochs and state.stale < options.patience:
        torch.manual_seed(epoch_seed(seed, state.epoch))
        rng = np.random.default_rng([seed, state.epoch])
        train_loss = _epoch(network, batches(rng), loss, state, options, device)
        network.eval()
        with torch.inference_mode(), autocast(device):
            score = validate(network)
        _check_score(score, state.epoch)
        state.finish_epoch(train_loss, score)
        if checkpoint is not None:
            state.save(checkpoint)
        if bar is not None:
            shown = {"train_loss": train_loss, **score.row}
            bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})
            bar.update()
    if bar is not None:
        bar.close()
    network.load_state_dict(state.best_parameters)
    network.eval()
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return History(state.rows, state.best_epoch)


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of torch or of a library in one epoch."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _epoch(
    network: nn.Module,
    batches: Iterable[Batch],
    loss: Callable[[Any, Tensor], Tensor],
    state: _State,
    options: TrainingOptions,
    device: torch.device,
) -> float:
    network.train()
    total, count = 0.0, 0
    for number, (inputs, targets) in enumerate(batches):
        targets = targets.to(device)
        value = loss(forward(network, inputs, device), targets)
        if not math.isfinite(value.item()):
            raise InvalidDataError(
                f"the loss is {value.item()} in epoch {state.epoch}, batch {number}; "
                "expected a finite number: lower the learning rate or check the features"
            )
        state.optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm)
        state.optimizer.step()
        total += value.item() * len(targets)
        count += len(targets)
    return total / count


def _check_score(score: AnyScore, epoch: int) -> None:
    if not all(map(math.isfinite, score.order)):
        shown = ", ".join(f"{name} {value}" for name, value in score.row.items())
        raise InvalidDataError(
            f"the training diverged: after epoch {epoch} validation gives {shown}; "
            "expected finite numbers: lower the learning rate"
        )


def forward(network: nn.Module, inputs: Any, device: torch.device) -> Any:
    """Output of a network for a batch, in bfloat16 where that is faster, returned as float32.

    Inputs, a Tensor or a tuple of them (one for each argument of the network), are moved to the
    device. The output is a Tensor, or a dict or tuple of them.
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    with autocast(device):
        return _float32(network(*(tensor.to(device) for tensor in arguments)))


def _float32(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, dict):
        return {name: _float32(part) for name, part in output.items()}
    return type(output)(_float32(part) for part in output)


def _progress_bar(total: int, initial: int) -> Any:
    # Systems train without tqdm where nothing is shown
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=initial, unit="epoch", leave=False)


class _State:
    """Everything that training needs to go on after an interruption."""

    def __init__(self, network: nn.Module, options: TrainingOptions, seed: int) -> None:
        self.network = network
        # A checkpoint holds no code: functions stand in it under their names
        new = {f.name for f in fields(options) if f.metadata.get("added")}
        default = {f.name: f.default for f in fields(options)}
        settings = {
            name: getattr(value, "__qualname__", value)
            for name, value in asdict(options).items()
            if name not in new or value != default[name]  # as in the key of the run
        }
        self.identity = {**settings, "seed": seed}
        self.optimizer = torch.optim.Adam(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.scheduler = _scheduler(self.optimizer, options)
        self._parts: dict[str, Any] = {
            **{"network": network, "optimizer": self.optimizer, "scheduler": self.scheduler}
        }
        self.rows: list[dict[str, float]] = []
        self.best_epoch = -1
        self.best_order: tuple[float, ...] = (-math.inf, -math.inf)
        self.best_parameters: dict[str, Tensor] = {}

    @property
    def epoch(self) -> int:
        return len(self.rows)

    @property
    def stale(self) -> int:
        return self.epoch - 1 - self.best_epoch if self.rows else 0

    def finish_epoch(self, train_loss: float, score: AnyScore) -> None:
        rate = self.optimizer.param_groups[0]["lr"]
        self.rows.append({"train_loss": train_loss, **score.row, "learning_rate": rate})
        if score.order > self.best_order:
            self.best_order, self.best_epoch = score.order, self.epoch - 1
            parameters = self.network.state_dict()
            self.best_parameters = {name: value.clone() for name, value in parameters.items()}
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(score.order[0])
        else:
            self.scheduler.step()

    def save(self, path: Path) -> None:
        state = {name: part.state_dict() for name, part in self._parts.items()}
        best = (self.best_epoch, self.best_order, self.best_parameters)
        content = io.BytesIO()
        torch.save({"identity": self.identity, **state, "rows": self.rows, "best": best}, content)
        with atomic_path(path) as temporary:
            write_sealed(temporary, content.getvalue())

    def load(self, path: Path) -> None:
        try:
            state = torch.load(io.BytesIO(read_sealed(path)), weights_only=True)
        except ValueError:
            raise InvalidDataError(
                f"{path} is a damaged checkpoint; remove it to start again"
            ) from None
        if state["identity"] != self.identity:
            raise ParameterError(
                f"{path} is a checkpoint of another training; remove it to start again"
            )
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self.rows = state["rows"]
        self.best_epoch, self.best_order, self.best_parameters = state["best"]


def _scheduler(
    optimizer: torch.optim.Optimizer, options: TrainingOptions
) -> torch.optim.lr_scheduler.LRScheduler:
    schedulers = torch.optim.lr_scheduler
    if options.schedule == "cosine":
        return schedulers.CosineAnnealingLR(optimizer, options.epochs)
    if options.schedule == "plateau":
        return schedulers.ReduceLROnPlateau(
            optimizer, mode="max", factor=0.5, patience=options.patience // 3
        )
    return schedulers.ConstantLR(optimizer, factor=1.0, total_iters=0)
