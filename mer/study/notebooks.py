"""Notebooks executed side by side: each by papermill, in a kernel within a process of its own.

The processes are forked from one that has imported what all notebooks import: a kernel is ready in
a moment, and what a notebook changes ends with it.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from functools import cache, partial
from importlib.metadata import distributions
from multiprocessing import active_children, current_process, forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path
from threading import Event
from typing import Any

from mer.errors import MerError
from mer.files import atomic_path, temporary_folder, told
from mer.paths import data_folder
from mer.study.processes import end_with

Job = tuple[str, Callable[[], str]]
"""A name, and a function of another process that returns what is to be said of its work."""

_INTERRUPTED = "interrupted; what was stored is kept"
_CAN_FORK = sys.platform == "linux"


def in_processes(groups: Iterable[Sequence[Job]], *, processes: int, progress: bool) -> None:
    """Run jobs in processes of their own, with a line of progress each.

    Parameters
    ----------
    groups : iterable of sequence of Job
        Jobs of one group run one after another, groups side by side.
    processes : int
        How many jobs run at a time. They share the cores.
    progress : bool
        Whether to print the lines.

    Raises
    ------
    MerError
        The first that a job raised. Jobs that run then go on to their end; no other starts.
    """
    stop = Event()
    futures: list[Future[None]] = []
    with ThreadPoolExecutor(processes) as threads:
        try:
            for jobs in groups:
                run = partial(_one_after_another, jobs, stop, processes, progress)
                futures.append(threads.submit(run))
            for future in as_completed(futures):
                future.result()
        except MerError:
            stop.set()
            raise
        except BaseException:
            stop.set()
            _end_children(futures)
            raise


def _end_children(futures: Sequence[Future[None]], *, patience: float = 10.0) -> None:
    """Terminate processes until all have ended, and kill those that do not end in some seconds."""
    last = time.monotonic() + patience
    while not all(future.done() for future in futures):
        for child in active_children():  # again: one may have been about to start
            child.terminate() if time.monotonic() < last else child.kill()
        time.sleep(0.1)


def _one_after_another(jobs: Sequence[Job], stop: Event, processes: int, progress: bool) -> None:
    for name, call in jobs:
        if stop.is_set():
            return
        started = time.perf_counter()
        text = _in_process(name, call, processes)
        if progress:
            print(f"{name}: {time.perf_counter() - started:.1f} s{text}", flush=True)


def start_server(modules: Iterable[str]) -> None:
    """Start the process from which jobs are forked, and do not wait until it has its modules.

    Nothing happens where one runs already, or where processes cannot be forked.
    """
    if _CAN_FORK:
        _keep_sockets_in_own_folder()
        first, last = "mer.study.preloading", "mer.study.preloaded"
        forkserver.set_forkserver_preload([first, *modules, last])
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        forkserver.ensure_running()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@cache
def _keep_sockets_in_own_folder() -> None:
    """Have multiprocessing put its files where they are cleared after a kill."""
    stack = ExitStack()
    folder = stack.enter_context(temporary_folder(for_sockets=True))
    Finalize(None, stack.close, exitpriority=-200)  # after those of multiprocessing
    # As multiprocessing does itself: a folder in it would make the names of sockets too long
    current_process()._config["tempdir"] = str(folder)  # type: ignore[attr-defined]


def _in_process(name: str, call: Callable[[], str], processes: int) -> str:
    start_server(name for name in list(sys.modules) if name.startswith("mer."))
    context: Any = get_context("forkserver" if _CAN_FORK else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_answer, args=(call, dict(os.environ), Path.cwd(), processes, sender, os.getpid())
    )
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        process.join()
        answer = MerError(f"{name} failed: its process ended with status {process.exitcode}")
    process.join()
    if isinstance(answer, MerError):
        raise answer
    return str(answer)


def _answer(
    call: Callable[[], str],
    environment: dict[str, str],
    folder: Path,
    processes: int,
    sender: Connection,
    caller: int,
) -> None:
    """Body of a process: what it was forked from knows nothing of its caller's environment."""
    end_with(caller)
    from joblib import cpu_count
    from joblib.externals.loky import get_reusable_executor
    from threadpoolctl import threadpool_limits

    os.environ.clear()
    os.environ.update(environment, PYDEVD_DISABLE_FILE_VALIDATION="1")  # nobody debugs here
    os.chdir(folder)
    cores = max(cpu_count() // processes, 1)
    os.environ["LOKY_MAX_CPU_COUNT"] = str(cores)
    if "OMP_NUM_THREADS" not in environment:
        threadpool_limits(cores)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        answer = _outcome(call)
        with suppress(BrokenPipeError):  # the caller has been killed
            sender.send(answer)
    finally:  # a process of multiprocessing waits for its children, and calls no exit functions
        get_reusable_executor().shutdown(kill_workers=True)
        atexit._run_exitfuncs()


def _outcome(call: Callable[[], str]) -> str | MerError:
    try:
        return call()
    except MerError as error:
        return error
    except KeyboardInterrupt:
        return MerError(_INTERRUPTED)
    except OSError as error:  # such as a full disk
        return MerError(told(error))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process ends, with its workers first


def _interrupt(number: int, frame: Any) -> None:
    """Handle SIGTERM once, as an interrupt, so that workers of this process end before it does."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def execute(
    template: Path, finished: Path, values: Mapping[str, Any], root: Path, code: str
) -> str:
    """Execute a notebook: under its name if it ends well, else as `<name>.failed.ipynb`.

    Parameters
    ----------
    template, finished : Path
        Of the notebook, and of what becomes of it.
    values : mapping
        Parameters; the notebook is given those that it has.
    root : Path
        Folder that it runs in.
    code : str
        From `code_digest`, taken before this process was forked.

    Returns
    -------
    str
        How many runs were computed.

    Raises
    ------
    MerError
        If the notebook fails.
    """
    import papermill
    from papermill.engines import papermill_engines

    failed = finished.with_suffix(".failed.ipynb")
    for path in (finished, failed):
        path.unlink(missing_ok=True)
    papermill_engines.register("here", _engine())
    known = papermill.inspect_notebook(str(template))
    given = {key: value for key, value in values.items() if key in known}
    files, computed = _watch(root)
    with atomic_path(finished) as unfinished:
        try:
            notebook = papermill.execute_notebook(
                str(template),
                str(unfinished),
                parameters=given,
                engine_name="here",
                kernel_name="python3",
                cwd=str(root),
                progress_bar=False,
            )
        except (papermill.PapermillException, RuntimeError) as error:
            if getattr(error, "ename", "") == KeyboardInterrupt.__name__:
                raise MerError(_INTERRUPTED) from None
            if unfinished.stat().st_size:
                unfinished.replace(failed)
            reason = _reason(error)
            raise MerError(f"notebook {template.stem} failed: {reason} (see {failed})") from None
        papermill.iorw.write_ipynb(notebook, str(unfinished))
        _sign(unfinished, _digest(unfinished, template, values, files, code), files)
    return f", {len(computed)} runs computed"


def _engine() -> type:
    """An engine of papermill whose kernel is this process."""
    from papermill.engines import Engine

    class Here(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
            kernel = _Kernel()
            for index, cell in enumerate(nb_man.nb.cells):
                nb_man.cell_start(cell, index)
                if cell.cell_type == "code":
                    cell.outputs = kernel.run(cell.source)
                    if any(output.output_type == "error" for output in cell.outputs):
                        nb_man.cell_exception(cell, index)
                        return
                nb_man.cell_complete(cell, index)

    return Here


class _Kernel:
    """IPython within this process, with figures shown in line."""

    def __init__(self) -> None:
        from ipykernel.inprocess.manager import InProcessKernelManager
        from traitlets.config import Config

        config = Config(
            {
                "HistoryManager": {"hist_file": ":memory:"},
                # Layouts of the study leave no margin to cut off, which would draw a figure twice
                "InlineBackend": {"print_figure_kwargs": {"bbox_inches": None}},
            }
        )
        manager: Any = InProcessKernelManager(config=config)
        manager.start_kernel()
        manager.kernel.shell.enable_matplotlib("inline")
        self.client = manager.client()
        self.client.start_channels()

    def run(self, source: str) -> list[Any]:
        """Execute the source of a cell; its outputs."""
        from nbformat.v4 import output_from_msg

        outputs: list[Any] = []
        self.client.execute(source)
        while (message := self.client.get_iopub_msg())["content"].get("execution_state") != "idle":
            if message["msg_type"] not in {"display_data", "error", "execute_result", "stream"}:
                continue
            output = output_from_msg(message)
            if outputs and output.get("name", 0) == outputs[-1].get("name"):
                outputs[-1].text += output.text
            else:
                outputs.append(output)
        return outputs


def _reason(error: Exception) -> str:
    """Last line of an error: the message of one of ours, name and message of any other."""
    message = str(getattr(error, "evalue", error)).strip() or "no message"
    name = getattr(error, "ename", type(error).__name__)
    ours = name in {"MerError", *(kind.__name__ for kind in MerError.__subclasses__())}
    last = message.splitlines()[-1]
    return last if ours else f"{name}: {last}"


def _watch(root: Path) -> tuple[set[str], list[str]]:
    """What this process reads from now on, of stored results and of datasets; runs that it stores.

    Paths of stored results are there also if nothing was stored below them.
    """
    files: set[str] = set()
    computed: list[str] = []
    data = str((root / data_folder()).resolve()) + os.sep

    def hook(event: str, values: tuple[Any, ...]) -> None:
        if event == "mer.store.read" or (event == "open" and str(values[0]).startswith(data)):
            files.add(os.path.abspath(values[0]))
        elif event == "mer.store.write":
            computed.append(values[0])

    sys.addaudithook(hook)
    return files, computed


def _sign(path: Path, digest: str, files: Iterable[str]) -> None:
    """Note in an executed notebook what it came from."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"]["mer"] = {"read": sorted(files), "digest": digest}
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")


def is_current(finished: Path, template: Path, values: Mapping[str, Any]) -> bool:
    """Whether a notebook was executed with what is there now, and not changed since.

    That is its source, the parameters, the code and the installed packages, and all stored results
    and data that it read.
    """
    try:
        noted = json.loads(finished.read_text(encoding="utf-8"))["metadata"]["mer"]
        current = _digest(finished, template, values, noted["read"], code_digest())
        return bool(noted["digest"] == current)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digest(
    executed: Path, template: Path, values: Mapping[str, Any], files: Iterable[str], code: str
) -> str:
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    parts = [code, _file_digest(template), json.dumps([dict(values), cells], sort_keys=True)]
    parts += map(_path_digest, sorted(files))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def code_digest() -> str:
    """Of this package and the versions of all others."""
    package = Path(__file__).parents[1]
    names = sorted(path for path in package.rglob("*") if path.suffix not in {".pyc", ""})
    versions = sorted(f"{package.name} {package.version}" for package in distributions())
    text = "\n".join([sys.version, *versions, *map(_file_digest, names)])
    return hashlib.sha256(text.encode()).hexdigest()


def _path_digest(name: str) -> str:
    """Of a file or of all files in a folder."""
    path = Path(name)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return "\n".join(map(_file_digest, files))


def _file_digest(path: Path) -> str:
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
    return f"{path.name} {content}"
