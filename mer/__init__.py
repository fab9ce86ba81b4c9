"""Music emotion recognition: models, features and protocol of an executable reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mer.prediction.batch import predict

__version__ = "0.1.0"
__all__ = ["predict"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: it needs torch, which takes seconds
    if name == "predict":
        from mer.prediction.batch import predict

        return predict
    raise AttributeError(f"module 'mer' has no attribute {name!r}")
