"""The program `mer`: its command line, which takes a second to be loaded."""

from __future__ import annotations

import gc
import signal
import sys

_ENDINGS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Run the command line; an interrupt ends it with one sentence, even while it is loaded."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no process stays behind
    try:
        from mer.cli import main as run

        run()
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        print("mer: interrupted; what was stored is kept", file=sys.stderr)
        sys.exit(130)
    finally:
        for number in _ENDINGS:  # all is done: the interpreter ends without a traceback
            signal.signal(number, signal.SIG_IGN)
        gc.freeze()  # it would look through all that was loaded once more, for a second


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is an interrupt, or comes from one: Python 3.11 hides some in others."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


if __name__ == "__main__":
    main()
