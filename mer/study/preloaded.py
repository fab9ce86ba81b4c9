"""What notebooks need: loaded once, by the process from which their kernels are forked."""

import gc
from importlib import import_module

from mer.libraries import load_librosa
from mer.study.preloading import stop_watching

for _name in (
    "ipykernel.inprocess.manager",
    "matplotlib_inline.backend_inline",
    "papermill",
    "seaborn",
    "sklearn.svm",
):
    import_module(_name)
load_librosa()

# So that no forked process looks through all of it, again and again, and copies it by that
gc.collect()
gc.freeze()
stop_watching()  # a process with threads should not be forked
