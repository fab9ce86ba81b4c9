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
    except KeyboardInterrupt:
        print("mer: interrupted; what was stored is kept", file=sys.stderr)
        sys.exit(130)
    finally:
        for number in _ENDINGS:  # all is done: the interpreter ends without a traceback
            signal.signal(number, signal.SIG_IGN)
        gc.freeze()  # it would look through all that was loaded once more, for a second


if __name__ == "__main__":
    main()
