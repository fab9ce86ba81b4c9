"""Notebooks and book: clean templates, headless runs, mistakes that are told, a checked book."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from mer.errors import InvalidDataError, MerError, MissingDataError, ParameterError
from mer.study import book
from mer.study.parameters import StudyParameters, check, parameters
from mer.study.summaries import deviations, deviations_by_kind
from mer.systems.variants import VARIANTS

ROOT = Path(__file__).parents[1]
SINGLE = ("C1D-M", "C1D-D", "C2D-M")
UNIFIED = "EmoMucs-C1D, unified"
FUSED = ("EmoMucs-C1D, mid, freeze", "EmoMucs-C1D, early, full")
TRUE_STEMS = {name: {"separator": "true"} for name in VARIANTS}
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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project without results, so that tests leave no trace in this one."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "book", "_config.yml"):
        (folder / name).symlink_to(ROOT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MER_PROJECT", str(folder))
        yield folder


def template(name: str) -> Any:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def test_the_book_knows_all_notebooks() -> None:
    assert sorted(book.NOTEBOOKS) == sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", book.NOTEBOOKS)
def test_template_has_no_outputs(name: str) -> None:
    notebook = template(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= 25


@pytest.mark.parametrize("name", book.NOTEBOOKS)
def test_parameters_cell_holds_every_parameter(name: str) -> None:
    notebook, model = template(name), book.NOTEBOOKS[name]
    tagged = [
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    assert len(tagged) == 1
    values: dict[str, Any] = {}
    exec(notebook.cells[tagged[0]].source, {}, values)
    assert list(values) == list(model.model_fields)
    assert json.loads(json.dumps(values)) == values
    check(values, model)
    following = notebook.cells[tagged[0] + 1].source
    assert f"settings = parameters(globals(), {model.__name__})" in following


@pytest.mark.parametrize("name", book.NOTEBOOKS)
def test_notebook_runs_in_smoke(name: str, project: Path, tmp_path: Path) -> None:
    given = dict(CHEAP.get(name, {}))
    if "n_jobs" in book.NOTEBOOKS[name].model_fields:
        given["n_jobs"] = 1
    (path,) = book.execute_notebooks(
        "smoke", output=tmp_path, parameters=given, names=[name], progress=False
    )
    assert_shows_results(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.slow
def test_all_systems_run_in_smoke(project: Path, tmp_path: Path) -> None:
    for path in book.execute_notebooks("smoke", output=tmp_path, progress=False):
        assert_shows_results(path)


def assert_shows_results(path: Path) -> None:
    """Tables and figures, and no error."""
    outputs = [
        output
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert not [output for output in outputs if output.output_type == "error"]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png", "text/markdown"} <= kinds


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("profle", "smoke", "unknown parameter 'profle'; the parameters are: profile, corpus,"),
        ("profile", "smok", "unknown profile 'smok'; the profiles are: smoke, quick, cpu, paper"),
        ("seeds", "many", "parameter 'seeds' is 'many'"),
    ],
)
def test_papermill_tells_a_mistake(
    name: str, value: str, told: str, project: Path, tmp_path: Path
) -> None:
    notebook, output = ROOT / "notebooks" / "emopia_baselines.ipynb", tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(notebook), str(output), "-p", name, value]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert f"ParameterError: {told}" in result.stderr


def test_lists_from_the_command_line_of_papermill() -> None:
    given = {"profile": "smoke", "seeds": "[0, 1]", "systems": '["Constant"]'}
    settings = parameters(given, StudyParameters)
    assert settings.seeds == [0, 1]
    assert settings.systems == ["Constant"]


def test_mistakes_are_told_before_a_kernel_starts(project: Path) -> None:
    with pytest.raises(ParameterError, match="unknown parameter 'profle'"):
        book.execute_notebooks("smoke", parameters={"profle": "smoke"})
    with pytest.raises(ParameterError, match="unknown profile 'smok'"):
        book.execute_notebooks("smok")
    with pytest.raises(ParameterError, match="unknown notebook 'corpus'; the notebooks are: corp"):
        book.execute_notebooks("smoke", names=["corpus"])
    with pytest.raises(ParameterError, match="unknown transcriber 'ear'"):
        book.execute_notebooks("smoke", parameters={"transcribers": ["ear"]})


def test_failed_notebook_does_not_pass_for_a_good_one(project: Path, tmp_path: Path) -> None:
    (tmp_path / "corpora.ipynb").write_text("from an earlier time")
    with pytest.raises(MerError, match=r"notebook corpora failed: .* nothing is stored"):
        book.execute_notebooks(
            "cpu", output=tmp_path, parameters={"compute": False}, names=["corpora"], progress=False
        )
    assert [path.name for path in tmp_path.iterdir()] == ["corpora.failed.ipynb"]


def test_book_needs_stored_runs(project: Path) -> None:
    with pytest.raises(MissingDataError, match="nothing is stored of corpus 'emopia'"):
        book.build_book(progress=False)


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
    ("html", "error", "told"),
    [
        (None, MissingDataError, "no page index"),
        ("<p>words</p>", MissingDataError, "no table with filled cells"),
        ("<table><tr><td> </td></tr></table>", MissingDataError, "no table with filled cells"),
        ("<td>1</td>Traceback (most recent call last)", InvalidDataError, "shows an error"),
    ],
)
def test_check_book_finds_what_is_wrong(
    html: str | None, error: type[MerError], told: str, tmp_path: Path
) -> None:
    if html is not None:
        (tmp_path / "index.html").write_text(html)
    with pytest.raises(error, match=told):
        book.check_book(tmp_path, ["index"])


def test_check_book_accepts_a_filled_table(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<table><tr><td class='data'><p>.684</p></td></table>")
    book.check_book(tmp_path, ["index"])


def test_deviations_lists_what_differs() -> None:
    table = deviations({"LSTM-Attn + REMI": {"hidden": 64, "hops": 14}, "Constant": {}})
    assert table.to_numpy().tolist() == [["LSTM-Attn + REMI", "hidden", "128", "64"]]


def test_deviations_that_systems_share_stand_once() -> None:
    table = deviations({"Single-loss": {"pool": 6}, "STFT-input": {"pool": 6, "n_fft": 512}})
    assert table.to_numpy().tolist() == [
        ["Single-loss; STFT-input", "pool", "2", "6"],
        ["STFT-input", "n_fft", "1024", "512"],
    ]


def test_deviations_of_variants_that_are_trained_alike_stand_once() -> None:
    used = {"C1D-M": {"epochs": 40}, "C1D-V": {"epochs": 40}, "C2D-V": {"epochs": 40}, "Mean": {}}
    table = deviations_by_kind(used)
    named = "C1D (one input, unified, full); C2D (one input, unified, full)"
    assert table.to_numpy().tolist() == [[named, "epochs", "1000", "40"]]


@pytest.mark.slow
def test_book_builds_from_the_stored_runs(project: Path) -> None:
    (project / "results").symlink_to(ROOT / "results")
    index = book.build_book(progress=False)
    text = index.read_text()
    assert "Symbolic-SVM" in text
    assert "rendered" in text
