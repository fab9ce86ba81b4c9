"""Processes that compute for another one."""

from __future__ import annotations

import os
import time
from functools import cache
from threading import Thread


@cache
def end_with_parent(seconds: float = 1.0) -> None:
    """End this process, whatever it computes, within some seconds of the end of its parent."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
