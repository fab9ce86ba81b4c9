"""The first module of the process from which kernels are forked, while it loads all others.

It ends with its caller even then, and leaves interrupts to it.
"""

import os
import signal

from mer.study.processes import end_with

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
stop_watching = end_with(os.getppid())
