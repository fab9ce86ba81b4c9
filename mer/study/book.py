"""The book: notebooks executed, pages and tables staged, HTML built and checked.

The notebooks are executed into `_build/notebooks/<profile>`; Jupyter Book renders what they show,
and executes nothing itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from joblib import cpu_count

from mer.errors import InvalidDataError, MerError, MissingDataError, ParameterError
from mer.files import clear
from mer.paths import cache_folder
from mer.study.notebooks import Job, code_digest, execute, in_processes, is_current
from mer.study.profiles import STORED
from mer.study.project import project_root, store_folder
from mer.study.settings import Settings, check

NOTEBOOKS = (
    "corpora",
    "emopia_baselines",
    "evaluation_audit",
    "transcription",
    "zhu2023_comparison",
    "zhu2023_ablation",
    "zhao2023_comparison",
    "zhao2023_ablation",
    "zhao2023_attention",
    "transposition",
    "sound_robustness",
    "across_corpora",
    "your_music",
    "separation",
    "deberardinis2020_sources",
    "deberardinis2020_fusion",
    "deberardinis2020_interpretation",
    "sun2024_segments",
    "sun2024_comparison",
    "sun2024_trajectory",
    "sun2024_noise",
    "claims",
)
"""In the order of the book."""

FRESH = "quick"
"""Profile of what the book shows beside the stored results: what this machine computed itself."""

_GITHUB = r"https://github\.com/[A-Za-z0-9-]+/(?!\.+$)[A-Za-z0-9._-]+(?<!\.git)"

PAGES_WITH_TABLES = (
    "leaderboard",
    "tables",
    "data",
    "protocol",
    "deviations",
    "reproduce",
    "troubleshooting",
)


def execute_notebooks(
    profile: str,
    *,
    output: Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    progress: bool = True,
) -> list[Path]:
    """Execute notebooks with papermill, as many side by side as there are cores.

    Notebooks of one paper run one after another, since they share runs. What was executed before
    is kept where nothing is to be computed and nothing changed that it came from.

    Parameters
    ----------
    profile : str
    output : Path, optional
        Folder of the executed notebooks; `_build/notebooks/<profile>` of the project if None.
    parameters : mapping, optional
        Values by name; each notebook is given those that it has.
    names : sequence of str, optional
        Names among `NOTEBOOKS`; all of them if None.
    progress : bool
        Whether to print a line for each notebook: its time, and how many runs it computed.

    Returns
    -------
    list of Path
        The executed notebooks.

    Raises
    ------
    ParameterError
        If the profile, a notebook or a parameter is unknown, or a value has the wrong type.
    MerError
        If a notebook fails. What it got to is then kept as `<name>.failed.ipynb`.
    """
    names = NOTEBOOKS if names is None else names
    for name in names:
        if name not in NOTEBOOKS:
            raise ParameterError(
                f"unknown notebook {name!r}; the notebooks are: {', '.join(NOTEBOOKS)}"
            )
    values = {**(parameters or {}), "profile": profile}
    check(values, list(Settings.model_fields))
    output = output or project_root() / "_build" / "notebooks" / profile
    _clear(output)
    _run(_jobs(names, values, output), values.get("n_jobs"), progress)
    return [output / f"{name}.ipynb" for name in names]


def _clear(*more: Path) -> None:
    """Remove what killed processes have left half-written."""
    clear(store_folder(committed=True), project_root() / "_build", cache_folder(), *more)


def _jobs(names: Sequence[str], values: Mapping[str, Any], output: Path) -> list[list[Job]]:
    """Notebooks that have to be executed, in groups: those of one paper may compute the same."""
    root, computes = project_root(), values.get("compute", True)
    output.mkdir(parents=True, exist_ok=True)
    groups: dict[str, list[Job]] = {}
    sizes = {name: (root / "notebooks" / f"{name}.ipynb").stat().st_size for name in names}
    for name in names if computes else sorted(sizes, key=sizes.__getitem__, reverse=True):
        template, finished = root / "notebooks" / f"{name}.ipynb", output / f"{name}.ipynb"
        if computes or not is_current(finished, template, values):
            group = groups.setdefault(name.split("_")[0] if computes else name, [])
            group.append((name, partial(execute, template, finished, values, root, code_digest())))
    return sorted(groups.values(), key=len, reverse=True)


def _run(groups: Sequence[Sequence[Job]], n_jobs: int | None, progress: bool) -> None:
    """Run them on all cores, of which each takes the number of processes that it may use."""
    processes = max(cpu_count() // (n_jobs or 1), 1)
    in_processes(groups, processes=max(min(processes, len(groups)), 1), progress=progress)


def build_book(
    write_tables: Callable[[Path], None], *, repository: str = "", progress: bool = True
) -> Path:
    """Build the book from stored runs, and check it.

    A second part shows the notebooks of profile "quick" where `mer study` has executed them here.

    Parameters
    ----------
    write_tables : callable
        Writes the tables that pages include, as Markdown, into a new folder.
    repository : str
        Address of the project on GitHub, for links to it and for buttons that start a page's
        notebook on Binder or Colab; there are none without it.
    progress : bool
        Whether to print a line for each notebook.

    Returns
    -------
    Path
        `index.html` of the book.

    Raises
    ------
    ParameterError
        If the address is none of GitHub.
    MissingDataError
        If runs are not stored.
    MerError
        If a notebook fails, Sphinx warns, or the book lacks a page or a table.
    """
    if repository and not re.fullmatch(_GITHUB, repository):
        raise ParameterError(
            f"repository is {repository!r}; expected an address such as https://github.com/owner/name"
        )
    build = project_root() / "_build"
    with _alone(build):
        return _build(build, write_tables, repository, progress=progress)


@contextmanager
def _alone(build: Path) -> Iterator[None]:
    build.mkdir(exist_ok=True)
    try:
        with FileLock(build / "book.lock", timeout=0):
            yield
    except Timeout:
        raise MerError(f"another process builds the book in {build}; wait for its end") from None


def _build(
    build: Path, write_tables: Callable[[Path], None], repository: str, *, progress: bool
) -> Path:
    _clear()
    source, book = build / "book-source", build / "book"
    for folder in (source, book):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project_root() / "book", source)
    values = {"compute": False, "profile": STORED}
    executed = build / "notebooks" / STORED
    tables: Job = ("tables", partial(_written, write_tables, source / "generated"))
    _run([[tables], *_jobs(NOTEBOOKS, values, executed)], None, progress)
    pages = _stage(source)
    _stage_datatables(source / "_static")
    config = _configured(source, repository)
    _run_sphinx(source, book, config)
    html = book / "_build" / "html"
    check_book(html, pages)
    return html / "index.html"


def _configured(source: Path, repository: str) -> Path:
    """The configuration of Jupyter Book, with what an address of the project adds."""
    import yaml

    config = yaml.safe_load((project_root() / "_config.yml").read_text(encoding="utf-8"))
    if repository:
        config["repository"] = {"url": repository, "branch": "main"}
        config["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        }
        config["html"] |= {"use_repository_button": True, "use_issues_button": True}
    path = source / "_config.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def _written(write_tables: Callable[[Path], None], folder: Path) -> str:
    write_tables(folder)
    return ""


def _stage(source: Path) -> list[str]:
    """Put the executed notebooks and the table of contents in place; names of all pages."""
    import yaml

    path = source / "_toc.yml"
    toc = yaml.safe_load(path.read_text(encoding="utf-8"))
    _stage_notebooks(STORED, source / "notebooks")
    fresh = _stage_notebooks(FRESH, source / FRESH)
    if fresh:
        chapters = [{"file": f"{FRESH}/{name}"} for name in fresh]
        toc["parts"].append(
            {"caption": f"Test runs, not results (profile {FRESH})", "chapters": chapters}
        )
    path.write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    return [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]


def _stage_notebooks(profile: str, target: Path) -> list[str]:
    """Copy executed notebooks without what only concerns their execution; their names."""
    import nbformat

    root = project_root()
    staged = []
    for name in NOTEBOOKS:
        path = root / "_build" / "notebooks" / profile / f"{name}.ipynb"
        if not path.is_file():
            continue
        notebook = nbformat.read(path, as_version=4)
        template = nbformat.read(root / "notebooks" / path.name, as_version=4)
        if _sources(notebook) != _sources(template):
            raise InvalidDataError(
                f"{path} was made by another version of notebook {name}; "
                f"run 'mer study --profile {profile}' again or remove the file"
            )
        for part in (notebook, *notebook.cells):
            for key in ("mer", "papermill", "widgets"):
                part.metadata.pop(key, None)
        _link_pages(notebook.cells)
        _name_figures(notebook.cells)
        _fold_code(notebook.cells)
        if profile == FRESH:
            _mark_as_synthetic(notebook, name)
        target.mkdir(exist_ok=True)
        nbformat.write(notebook, target / path.name)
        staged.append(name)
    return staged


_RESULT = ">Result</p>"
"""Title of the box of `mer.study.verdicts.result_box`."""

_SYNTHETIC = """
```{{admonition}} Synthetic quick run
:class: danger
These numbers are of profile `{profile}`: small networks, trained for a few epochs on music that was
composed for this study. They check that the code runs on this machine; they are no
evidence on the papers. The stored results are on the [page of the same name](../notebooks/{name}).
```
"""


def _mark_as_synthetic(notebook: Any, name: str) -> None:
    """Have title and text of a page say that its numbers are no results; search leaves it out."""
    first = notebook.cells[0]
    title, _, rest = first.source.removeprefix("# ").partition("\n")
    box = _SYNTHETIC.format(profile=FRESH, name=name)
    first.source = f"# [synthetic quick run] {title}\n{box}{rest}"
    notebook.metadata["nosearch"] = True
    for output in _outputs(notebook.cells):
        text = output.get("data", {}).get("text/markdown", "")
        if _RESULT in text:
            output["data"]["text/markdown"] = text.replace(_RESULT, ">Synthetic result</p>")


def _outputs(cells: Iterable[Any]) -> Iterator[Any]:
    return (output for cell in cells for output in cell.get("outputs", ()))


def _link_pages(cells: Sequence[Any]) -> None:
    """Have links to notebooks that HTML outputs hold lead to their pages."""
    for output in _outputs(cells):
        data = output.get("data", {})
        if "text/html" in data:
            data["text/html"] = re.sub(r'(href="\w+)\.ipynb', r"\1.html", data["text/html"])


def _name_figures(cells: Sequence[Any]) -> None:
    """Give figures the text of their output for those who do not see them."""
    for cell in cells:
        outputs = [output.get("data", {}) for output in cell.get("outputs", ())]
        texts = [d.get("text/plain", "") for d in outputs if {"image/svg+xml", "image/png"} & {*d}]
        if texts:
            cell.metadata.setdefault("mystnb", {})["image"] = {"alt": " ".join(texts)}


def _fold_code(cells: Sequence[Any]) -> None:
    """Have the book show results before code, but for what readers are asked to try."""
    trying = False
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            trying = cell.source.startswith("## Try this")
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.setdefault("tags", [])
        if not trying and "hide-input" not in tags:
            tags.append("hide-input")


def _sources(notebook: Any) -> list[str]:
    return [
        cell.source
        for cell in notebook.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def _stage_datatables(target: Path) -> None:
    """Put DataTables, as itables carries it, where pages opened from a file can load it.

    It is a module there, which browsers load from servers only.
    """
    import itables

    folder = Path(str(resources.files(itables) / "html"))
    script = (folder / "dt_bundle.js").read_text(encoding="utf-8")
    exported = re.search(r"export\{[^{}]*?(\w+) as default[^{}]*\}", script)
    if exported is None:
        raise InvalidDataError(f"{folder / 'dt_bundle.js'} exports no DataTables")
    code = script.replace(exported[0], f"window.DataTable={exported[1]}")
    (target / "datatables.js").write_text(f"(()=>{{{code}\n}})();\n", encoding="utf-8")
    shutil.copy(folder / "dt_bundle.css", target / "datatables.css")


def _run_sphinx(source: Path, book: Path, config: Path) -> None:
    """Jupyter Book with warnings as errors; its output goes to `build.log`."""
    book.mkdir(parents=True)
    start = "from jupyter_book.cli.main import main; main()"
    options = ["--config", config, "--path-output", book]
    command = [sys.executable, "-c", start, "build", source, *options, "-W", "--keep-going"]
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    log = book / "build.log"
    log.write_text(result.stdout + result.stderr, encoding="utf-8")
    if result.returncode:
        lines = [line for line in log.read_text().splitlines() if line.strip()]
        told = [line for line in lines if re.search(r"WARNING|ERROR", line)] or lines[-1:]
        raise MerError(f"the book was not built: {told[0]} ({len(told)} messages in {log})")


def check_book(html: Path, pages: Iterable[str]) -> None:
    """Check that all pages are there, without an error message and with filled tables.

    Parameters
    ----------
    html : Path
        Folder of the built book.
    pages : iterable of str
        Names of the pages, without suffix.

    Raises
    ------
    MissingDataError
        If a page is not there, or a page that needs a table has none with filled cells.
    InvalidDataError
        If a page shows a traceback.
    """
    for page in pages:
        path = html / f"{page}.html"
        if not path.is_file():
            raise MissingDataError(f"the book has no page {page}: {path} was not written")
        text = path.read_text(encoding="utf-8")
        if "Traceback (most recent call last)" in text or 'class="output traceback' in text:
            raise InvalidDataError(f"page {page} of the book shows an error: see {path}")
        needs_table = page in PAGES_WITH_TABLES or "/" in page
        if needs_table and not re.search(r"<td[^>]*>\s*(<p>)?\s*[^<\s]", text):
            raise MissingDataError(f"page {page} of the book has no table with filled cells")
