"""Notebooks and book: clean templates, headless runs, mistakes, a checked book."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from conftest import shared_folder
from filelock import FileLock

from mer.errors import InvalidDataError, MerError, MissingDataError, ParameterError
from mer.papers.deberardinis2020 import tables as emomucs
from mer.papers.overview import write_tables
from mer.study import book, notebooks
from mer.study.settings import Settings, assigned_names, check

ROOT = Path(__file__).parents[1]
SINGLE = ("C1D-M", "C1D-D", "C2D-M")
UNIFIED = "EmoMucs-C1D, unified"
FUSED = ("EmoMucs-C1D, mid, freeze", "EmoMucs-C1D, early, full")
TRUE_STEMS = {
    name: {"separator": "true"}
    for rows in (emomucs.SINGLE, emomucs.UNIFIED, emomucs.FUSED, emomucs.COMBINATIONS)
    for name in rows
}
CHEAP: dict[str, dict[str, Any]] = {
    "emopia_baselines": {
        "systems": ["Constant", "Symbolic-SVM", "LSTM-Attn + REMI"],
        "tasks": ["4Q"],
    },
    "zhu2023_comparison": {"systems": ["Symbolic & Acoustic", "Symbolic-SVM"], "tasks": ["4Q"]},
    "zhu2023_ablation": {"systems": ["Symbolic & Acoustic", "Symbolic-only", "Acoustic-only"]},
    "zhao2023_comparison": {
        "systems": ["Constant", "Multifaceted", "MidiBERT, no pre-training", "Symbolic-LR"],
        "tasks": ["4Q"],
    },
    "zhao2023_ablation": {"systems": ["Multifaceted", "Symbolic branch", "Tone color branch"]},
    "deberardinis2020_sources": {"systems": ["Mean", *SINGLE, UNIFIED], "overrides": TRUE_STEMS},
    "deberardinis2020_fusion": {"systems": [*SINGLE, *FUSED], "overrides": TRUE_STEMS},
    "deberardinis2020_interpretation": {"overrides": TRUE_STEMS},
    "sun2024_segments": {"tasks": ["A"]},
    "sun2024_comparison": {
        "systems": ["Constant", "Audio-SVM", "Segment inheritance", "SSSL"],
        "tasks": ["A"],
    },
}
"""What keeps a test of a notebook short, besides running in one process."""

WITH_ROWS = tuple(
    name
    for name in book.NOTEBOOKS
    if name.endswith(("baselines", "comparison", "ablation", "sources", "fusion", "segments"))
)
MODEL, OWN = "## The model", "## Try this: your own row"


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without results, so that tests leave no trace in this one."""
    return project_in(tmp_path_factory.getbasetemp() / "project", monkeypatch)


@pytest.fixture
def smoke_project(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project whose runs the notebooks of all test processes share."""
    return project_in(shared_folder(tmp_path_factory, "smoke"), monkeypatch)


def project_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("notebooks", "book", "_config.yml"):
        with suppress(FileExistsError):
            (folder / name).symlink_to(ROOT / name)
    monkeypatch.setenv("MER_PROJECT", str(folder))
    return folder


def template(name: str) -> Any:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def test_the_book_knows_all_notebooks() -> None:
    assert sorted(book.NOTEBOOKS) == sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", book.NOTEBOOKS)
def test_template_has_no_outputs(name: str) -> None:
    notebook = template(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= 25


@pytest.mark.parametrize("name", book.NOTEBOOKS)
def test_parameters_are_those_of_the_study(name: str) -> None:
    cells = template(name).cells
    (place,) = (k for k, c in enumerate(cells) if "parameters" in c.metadata.get("tags", []))
    values = default_parameters(name)
    known = [field for field in Settings.model_fields if field in values]
    assert list(values) == assigned_names(cells[place].source) == known
    assert values["profile"] == "quick"
    assert json.loads(json.dumps(values)) == values
    check(values, list(values))
    assert "Study(globals()" in cells[place + 1].source


def default_parameters(name: str) -> dict[str, Any]:
    """What the parameters cell of a notebook sets."""
    values: dict[str, Any] = {}
    for cell in template(name).cells:
        if "parameters" in cell.metadata.get("tags", []):
            exec(cell.source, {}, values)
    return values


@pytest.mark.parametrize("name", WITH_ROWS)
def test_pages_of_rows_show_a_model_and_take_a_row_of_ones_own(name: str) -> None:
    sections = [cell.source.split("\n")[0] for cell in template(name).cells]
    assert {MODEL, OWN} <= set(sections)


@pytest.mark.parametrize("name", book.NOTEBOOKS)
def test_notebook_runs_in_smoke(name: str, smoke_project: Path, tmp_path: Path) -> None:
    given = {**CHEAP.get(name, {}), "n_jobs": 1}
    (path,) = book.execute_notebooks(
        "smoke", output=tmp_path, parameters=given, names=[name], progress=False
    )
    if name == "claims":  # it computes nothing, and shows what other pages have stored
        assert "error" not in kinds_shown(nbformat.read(path, as_version=4).cells)
    else:
        assert_shows_results(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    for text in figure_texts(nbformat.read(path, as_version=4).cells):
        assert len(text) > 20
        assert not text.startswith("<")
    if name in WITH_ROWS:
        images = {"image/svg+xml", "image/png"}
        assert "text/html" in kinds_shown(section(path, MODEL))
        for heading in (MODEL, OWN):
            assert images & kinds_shown(section(path, heading))


def section(path: Path, heading: str) -> list[Any]:
    """Cells of an executed notebook from a heading to the next."""
    cells = nbformat.read(path, as_version=4).cells
    headings = [k for k, cell in enumerate(cells) if cell.source.startswith("## ")]
    start = next(k for k in headings if cells[k].source.startswith(heading))
    return cells[start : min((k for k in headings if k > start), default=None)]


def test_figures_of_a_plain_kernel_are_described() -> None:
    from nbclient import NotebookClient

    cells = ("from mer.study import plots\nplots.style()", "plots.empty('all is well')")
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
    NotebookClient(notebook).execute()
    (output,) = notebook.cells[1].outputs
    assert set(output.data) == {"image/svg+xml", "text/plain"}
    assert output.data["text/plain"] == "Nothing to show: all is well."
    assert output.metadata["image/svg+xml"] == {"alt": "Nothing to show: all is well."}


def figure_texts(cells: Iterable[Any]) -> list[str]:
    """What readers who do not see the figures of some cells get."""
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [each["text/plain"] for each in data if {"image/svg+xml", "image/png"} & {*each}]


def kinds_shown(cells: Iterable[Any]) -> set[str]:
    """Media types of what some cells show; an error is one, too."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return {kind for output in outputs for kind in output.get("data", {output.output_type: ""})}


@pytest.mark.slow
def test_all_systems_run_in_smoke(smoke_project: Path, tmp_path: Path) -> None:
    for path in book.execute_notebooks("smoke", output=tmp_path, progress=False)[:-1]:
        assert_shows_results(path)


def assert_shows_results(path: Path) -> None:
    """Tables and figures, and no error."""
    kinds = kinds_shown(nbformat.read(path, as_version=4).cells)
    assert "error" not in kinds
    assert {"text/html", "text/markdown"} <= kinds
    assert {"image/svg+xml", "image/png"} & kinds


def test_papermill_shows_what_is_wrong(project: Path, tmp_path: Path) -> None:
    notebook, output = ROOT / "notebooks" / "emopia_baselines.ipynb", tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(notebook), str(output), "-p", "profle", "x"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    message = "ParameterError: unknown parameter 'profle'; the parameters are: profile, corpus,"
    assert message in result.stderr


def test_mistakes_are_found_before_a_kernel_starts(project: Path) -> None:
    with pytest.raises(ParameterError, match="unknown parameter 'profle'"):
        book.execute_notebooks("smoke", parameters={"profle": "smoke"})
    with pytest.raises(ParameterError, match="parameter 'profile' is 'smok'"):
        book.execute_notebooks("smok")
    with pytest.raises(ParameterError, match="parameter 'seeds' is 'many'"):
        book.execute_notebooks("smoke", parameters={"seeds": "many"})
    with pytest.raises(ParameterError, match="unknown notebook 'corpus'; the notebooks are: corp"):
        book.execute_notebooks("smoke", names=["corpus"])
    with pytest.raises(ParameterError, match=r"parameter 'transcribers' is .'ear'.: input"):
        book.execute_notebooks("smoke", parameters={"transcribers": ["ear"]})


def test_failed_notebook_does_not_pass_for_a_good_one(project: Path, tmp_path: Path) -> None:
    (tmp_path / "corpora.ipynb").write_text("from an earlier time")
    with pytest.raises(MerError, match=r"notebook corpora failed: .* nothing is stored"):
        book.execute_notebooks(
            "cpu", output=tmp_path, parameters={"compute": False}, names=["corpora"], progress=False
        )
    assert [path.name for path in tmp_path.iterdir()] == ["corpora.failed.ipynb"]


def test_executed_notebook_is_kept_until_something_changes(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "results").mkdir()
    (project / "results" / "corpora").symlink_to(ROOT / "results" / "corpora")
    execute = partial(
        book.execute_notebooks,
        "cpu",
        output=tmp_path,
        parameters={"compute": False},
        names=["corpora"],
    )
    (path,) = execute()
    assert re.fullmatch(r"corpora: \d+\.\d s, 0 runs computed\n", capsys.readouterr().out)
    execute()
    assert capsys.readouterr().out == ""
    template = ROOT / "notebooks" / "corpora.ipynb"
    values = {"compute": False, "profile": "cpu"}
    assert notebooks.is_current(path, template, values)
    assert not notebooks.is_current(path, template, {**values, "corpus": "pmemo"})
    assert not notebooks.is_current(path, ROOT / "notebooks" / "separation.ipynb", values)
    text = path.read_text(encoding="utf-8")
    for other in (text.replace("Labels", "Edited"), "[]", '{"metadata": {"mer": "x"}}'):
        assert other != text
        path.write_text(other, encoding="utf-8")
        assert not notebooks.is_current(path, template, values)
    path.write_text(text, encoding="utf-8")
    assert notebooks.is_current(path, template, values)
    (project / "results" / "corpora").unlink()
    assert not notebooks.is_current(path, template, values)
    (project / "results").rmdir()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_caller(
    project: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """The program wants interrupts, which a shell has its background jobs ignore."""
    program = (
        "from functools import partial; from mer.study.notebooks import in_processes\n"
        "job = 'import pathlib, time; pathlib.Path(name).touch(); time.sleep(999)'\n"
        "if __name__ == '__main__':\n"
        "    import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    calls = {name: partial(exec, job, {'name': name}) for name in 'ab'}\n"
        "    in_processes([[call] for call in calls.items()], processes=2, progress=False)"
    )
    (tmp_path / "program.py").write_text(program)
    process = subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stderr=subprocess.PIPE)
    while not all((tmp_path / name).exists() for name in "ab"):
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(how)
    errors = process.communicate(timeout=20)[1]  # open as long as one of them runs
    assert (b"KeyboardInterrupt" in errors) == (how is signal.SIGINT)


def test_book_needs_stored_runs(project: Path) -> None:
    with pytest.raises(MissingDataError, match="nothing is stored of corpus 'emopia'"):
        book.build_book(write_tables, progress=False)


def test_two_builds_do_not_share_a_folder(project: Path) -> None:
    folder = project / "_build"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "book.lock"), pytest.raises(MerError, match="another process builds"):
        book.build_book(write_tables, progress=False)


def test_toc_lists_all_pages() -> None:
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    pages = [page["file"] for part in toc["parts"] for page in part["chapters"]]
    assert len(pages) == len(set(pages))
    written = {path.stem for path in (ROOT / "book").glob("*.md")}
    executed = {f"notebooks/{name}" for name in book.NOTEBOOKS}
    assert {toc["root"], *pages} == written | executed
    assert set(book.PAGES_WITH_TABLES) <= written


def test_notebooks_of_another_version_are_not_shown(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "project_root", lambda: tmp_path)
    for folder in ("notebooks", "_build/notebooks/quick"):
        (tmp_path / folder).mkdir(parents=True)
    notebook = template("corpora")
    nbformat.write(notebook, tmp_path / "notebooks" / "corpora.ipynb")
    executed = tmp_path / "_build" / "notebooks" / "quick" / "corpora.ipynb"
    notebook.metadata["papermill"] = {"input_path": "/somewhere"}
    nbformat.write(notebook, executed)
    assert book._stage_notebooks("quick", tmp_path / "staged") == ["corpora"]
    assert "/somewhere" not in (tmp_path / "staged" / "corpora.ipynb").read_text()
    notebook.cells[-1].source += "\n# changed"
    nbformat.write(notebook, executed)
    with pytest.raises(InvalidDataError, match="made by another version of notebook corpora"):
        book._stage_notebooks("quick", tmp_path / "staged")


@pytest.mark.parametrize(
    ("html", "error", "message"),
    [
        (None, MissingDataError, "no page data"),
        ("<p>words</p>", MissingDataError, "no table with filled cells"),
        ("<table><tr><td> </td></tr></table>", MissingDataError, "no table with filled cells"),
        ("<td>1</td>Traceback (most recent call last)", InvalidDataError, "shows an error"),
    ],
)
def test_check_book_finds_what_is_wrong(
    html: str | None, error: type[MerError], message: str, tmp_path: Path
) -> None:
    if html is not None:
        (tmp_path / "data.html").write_text(html)
    with pytest.raises(error, match=message):
        book.check_book(tmp_path, ["data"])


def test_check_book_accepts_a_filled_table(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<table><tr><td class='data'><p>.684</p></td></table>")
    book.check_book(tmp_path, ["index"])


@pytest.mark.slow
def test_book_builds_from_the_stored_runs(project: Path) -> None:
    (project / "results").symlink_to(ROOT / "results")
    index = book.build_book(write_tables, progress=False)
    text = index.read_text()
    assert "Symbolic-SVM" in text
    assert "rendered" in text


def test_pages_of_the_quick_profile_do_not_look_like_results() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Corpora\n\nText.")])
    book._mark_as_synthetic(notebook, "corpora")
    lines = notebook.cells[0].source.splitlines()
    assert lines[0] == "# [synthetic quick run] Corpora"
    assert ":class: danger" in lines
    assert "(../notebooks/corpora)" in notebook.cells[0].source
    assert lines[-1] == "Text."
    assert notebook.metadata["nosearch"] is True


def test_the_book_folds_code_but_for_what_readers_try() -> None:
    def code(*tags: str) -> Any:
        return nbformat.v4.new_code_cell("1", metadata={"tags": list(tags)})

    texts = ("# Title", "## Results", "## Try this: your own row", "## More")
    title, results, trying, more = map(nbformat.v4.new_markdown_cell, texts)
    cells = [
        *(title, code("parameters"), code("injected-parameters")),
        *(results, code("remove-output"), code("hide-input")),
        *(trying, code(), more, code()),
    ]
    book._fold_code(cells)
    assert [cell.metadata["tags"] for cell in cells if cell.cell_type == "code"] == [
        *(["parameters", "hide-input"], ["injected-parameters", "hide-input"]),
        *(["remove-output", "hide-input"], ["hide-input"], [], ["hide-input"]),
    ]


def test_an_address_of_the_project_adds_links_and_buttons(tmp_path: Path) -> None:
    plain = yaml.safe_load(book._configured(tmp_path, "").read_text())
    assert "repository" not in plain
    assert plain == yaml.safe_load((ROOT / "_config.yml").read_text())
    address = "https://github.com/owner/name"
    config = yaml.safe_load(book._configured(tmp_path, address).read_text())
    assert config["repository"]["url"] == address
    assert {"binderhub_url", "colab_url"} <= set(config["launch_buttons"])
    assert config["html"]["use_repository_button"]
    assert config["html"].items() >= plain["html"].items()


def test_an_address_that_is_none(project: Path) -> None:
    with pytest.raises(ParameterError, match="repository is 'owner/name'; expected an address"):
        book.build_book(write_tables, repository="owner/name", progress=False)


def test_what_is_staged_is_linked_and_described() -> None:
    output = nbformat.v4.new_output(
        "display_data", {"image/svg+xml": "<svg/>", "text/plain": "Accuracy of a and b."}
    )
    table = nbformat.v4.new_output("display_data", {"text/html": '<a href="claims.ipynb#a">x</a>'})
    cell = nbformat.v4.new_code_cell("x", outputs=[output, table])
    book._link_pages([cell])
    book._name_figures([cell])
    assert cell.outputs[1].data["text/html"] == '<a href="claims.html#a">x</a>'
    assert cell.metadata["mystnb"]["image"] == {"alt": "Accuracy of a and b."}


def test_datatables_is_a_script_that_files_can_load(tmp_path: Path) -> None:
    book._stage_datatables(tmp_path)
    script = (tmp_path / "datatables.js").read_text(encoding="utf-8")
    assert "window.DataTable=" in script
    assert not re.search(r"export\{[^}]*as default", script)
    assert (tmp_path / "datatables.css").is_file()
