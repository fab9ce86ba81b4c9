"""Processes that compute for another one."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Event, Thread


@cache
def end_with(process: int, seconds: float = 1.0) -> Callable[[], None]:
    """End this process, whatever it computes, within some seconds of the end of another one.

    Returns
    -------
    callable
        Ends the watch.
    """
    stopped = Event()

    def watch() -> None:
        while _is_there(process):
            if stopped.wait(seconds):
                return
        os._exit(1)

    thread = Thread(target=watch, daemon=True)

    def stop() -> None:
        stopped.set()
        thread.join()
        end_with.cache_clear()  # a process that is forked then has no watch yet

    if os.name == "posix":
        thread.start()
    return stop


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's, or this system has no such files
        return True
    return not state.rpartition(")")[2].startswith(" Z")  # ended, but nobody has asked how
