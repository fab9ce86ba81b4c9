"""The book: notebooks executed, pages and tables staged, HTML built and checked.

papermill executes the notebooks into `_build/notebooks/<profile>`; Jupyter Book renders what they
show, and executes nothing itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mer.errors import InvalidDataError, MerError, MissingDataError, ParameterError
from mer.study.parameters import (
    CorpusParameters,
    NotebookParameters,
    RegressionParameters,
    SegmentParameters,
    SeparationParameters,
    StudyParameters,
    TranscriptionParameters,
    check,
)
from mer.study.project import project_root
from mer.study.summaries import STORED, write_tables

NOTEBOOKS: Mapping[str, type[NotebookParameters]] = MappingProxyType(
    {
        "corpora": CorpusParameters,
        "emopia_baselines": StudyParameters,
        "evaluation_audit": StudyParameters,
        "transcription": TranscriptionParameters,
        "zhu2023_comparison": StudyParameters,
        "zhu2023_ablation": StudyParameters,
        "zhao2023_comparison": StudyParameters,
        "zhao2023_ablation": StudyParameters,
        "zhao2023_attention": StudyParameters,
        "separation": SeparationParameters,
        "deberardinis2020_sources": RegressionParameters,
        "deberardinis2020_fusion": RegressionParameters,
        "deberardinis2020_interpretation": RegressionParameters,
        "sun2024_segments": SegmentParameters,
        "sun2024_comparison": SegmentParameters,
        "sun2024_trajectory": SegmentParameters,
        "sun2024_noise": SegmentParameters,
    }
)
"""In the order of the book, each with the parameters that it takes."""

FRESH = "quick"
"""Profile of what the book shows beside the stored results: what this machine computed itself."""

PAGES_WITH_TABLES = ("index", "data", "protocol", "deviations", "reproduce")


def execute_notebooks(
    profile: str,
    *,
    output: Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    progress: bool = True,
) -> list[Path]:
    """Execute notebooks with papermill, in the kernel "python3" of this environment.

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
        Whether to show which cell runs, and what it prints.

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
    names = tuple(NOTEBOOKS) if names is None else names
    for name in names:
        if name not in NOTEBOOKS:
            raise ParameterError(
                f"unknown notebook {name!r}; the notebooks are: {', '.join(NOTEBOOKS)}"
            )
    values = {**(parameters or {}), "profile": profile}
    _check_parameters(values)
    output = output or project_root() / "_build" / "notebooks" / profile
    output.mkdir(parents=True, exist_ok=True)
    return [_execute(name, output, values, progress) for name in names]


def _check_parameters(values: Mapping[str, Any]) -> None:
    """Each value must be one that some notebook takes, and right for all that take it."""
    fields = {name: model for model in NOTEBOOKS.values() for name in model.model_fields}
    unknown = [name for name in values if name not in fields]
    if unknown:
        raise ParameterError(
            f"unknown parameter {unknown[0]!r}; the parameters are: {', '.join(fields)}"
        )
    for model in dict.fromkeys(NOTEBOOKS.values()):
        check({key: value for key, value in values.items() if key in model.model_fields}, model)


def _execute(name: str, output: Path, values: Mapping[str, Any], progress: bool) -> Path:
    """One notebook: under its name when it ends well, as `<name>.failed.ipynb` if it does not."""
    import papermill

    root = project_root()
    template, finished = root / "notebooks" / f"{name}.ipynb", output / f"{name}.ipynb"
    failed = output / f"{name}.failed.ipynb"
    for path in (finished, failed):
        path.unlink(missing_ok=True)
    taken = papermill.inspect_notebook(str(template))
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=output) as folder:
        unfinished = Path(folder) / finished.name
        try:
            papermill.execute_notebook(
                str(template),
                str(unfinished),
                parameters={key: value for key, value in values.items() if key in taken},
                kernel_name="python3",
                cwd=str(root),
                progress_bar=progress,
                stdout_file=sys.stdout if progress else None,
            )
        except (papermill.PapermillException, RuntimeError) as error:
            if unfinished.is_file():
                unfinished.replace(failed)
            raise MerError(f"notebook {name} failed: {_reason(error)} (see {failed})") from None
        unfinished.replace(finished)
    return finished


def _reason(error: Exception) -> str:
    """Last line of an error: the message of one of ours, name and message of any other."""
    message = str(getattr(error, "evalue", error)).strip() or "no message"
    name = getattr(error, "ename", type(error).__name__)
    ours = name in {"MerError", *(kind.__name__ for kind in MerError.__subclasses__())}
    last = message.splitlines()[-1]
    return last if ours else f"{name}: {last}"


def build_book(*, progress: bool = True) -> Path:
    """Build the book from stored runs, and check it.

    A second part shows the notebooks of profile "quick" where `mer study` has executed them here.

    Parameters
    ----------
    progress : bool
        Whether to show which notebook cell runs.

    Returns
    -------
    Path
        `index.html` of the book.

    Raises
    ------
    MissingDataError
        If runs are not stored.
    MerError
        If a notebook fails, Sphinx warns, or the book lacks a page or a table.
    """
    build = project_root() / "_build"
    source, book = build / "book-source", build / "book"
    for folder in (source, book):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project_root() / "book", source)
    write_tables(source / "generated")
    execute_notebooks(STORED, parameters={"compute": False}, progress=progress)
    pages = _stage(source)
    _run_sphinx(source, book)
    html = book / "_build" / "html"
    check_book(html, pages)
    return html / "index.html"


def _stage(source: Path) -> list[str]:
    """Put the executed notebooks and the table of contents in place; names of all pages."""
    import yaml

    path = source / "_toc.yml"
    toc = yaml.safe_load(path.read_text(encoding="utf-8"))
    _stage_notebooks(STORED, source / "notebooks")
    fresh = _stage_notebooks(FRESH, source / FRESH)
    if fresh:
        chapters = [{"file": f"{FRESH}/{name}"} for name in fresh]
        toc["parts"].append({"caption": f"This machine (profile {FRESH})", "chapters": chapters})
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
            part.metadata.pop("papermill", None)
            part.metadata.pop("widgets", None)
        target.mkdir(exist_ok=True)
        nbformat.write(notebook, target / path.name)
        staged.append(name)
    return staged


def _sources(notebook: Any) -> list[str]:
    return [
        cell.source
        for cell in notebook.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def _run_sphinx(source: Path, book: Path) -> None:
    """Jupyter Book with warnings as errors; its output goes to `build.log`."""
    book.mkdir(parents=True)
    start = "from jupyter_book.cli.main import main; main()"
    options = ["--config", project_root() / "_config.yml", "--path-output", book]
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
