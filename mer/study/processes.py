"""Processes that compute for another one."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from threading import Thread


@cache
def end_with(process: int, seconds: float = 1.0) -> None:
    """End this process, whatever it computes, within some seconds of the end of another one."""

    def watch() -> None:
        while _is_there(process):
            time.sleep(seconds)
        os._exit(1)

    if os.name == "posix":
        Thread(target=watch, daemon=True).start()


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's, or this system has no such files
        return True
    return not state.rpartition(")")[2].startswith(" Z")  # ended, but nobody has asked how
