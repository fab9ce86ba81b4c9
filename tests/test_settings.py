"""Settings of notebooks and of the command line, checked before anything runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from rows import ROWS

from mer.corpora import LABELLED
from mer.errors import MissingDataError, ParameterError
from mer.papers.zhu2023 import transcription
from mer.separation import SEPARATORS
from mer.study.profiles import NAMES
from mer.study.project import project_root, store_folder
from mer.study.settings import (
    CorpusName,
    Settings,
    Transcriber,
    assigned_names,
    parse_assignments,
    read_settings,
)
from mer.transcription import TRANSCRIBERS

assert ROWS, "imported, so that all tables are known"


class TestReadSettings:
    def test_names_are_those_of_the_package(self) -> None:
        fields = Settings.model_fields
        (separators,), (tests, _) = (
            get_args(fields[n].annotation) for n in ("separators", "tests")
        )
        assert get_args(fields["profile"].annotation) == NAMES
        assert set(get_args(CorpusName)) == set(LABELLED)
        assert get_args(Transcriber) == TRANSCRIBERS
        assert get_args(separators) == SEPARATORS
        assert get_args(get_args(tests)[0]) == tuple(transcription.EVALUATION.tests)

    def test_takes_what_the_cell_has_set(self) -> None:
        cell: dict[str, Any] = {"profile": "smoke", "corpus": "emopia", "tasks": ["A"]}
        assert read_settings(cell).model_dump() == {**Settings().model_dump(), **cell}

    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            *(("compute", text, True) for text in ("true", "True", " TRUE ")),
            *(("compute", text, False) for text in ("false", "False")),
            *(("seeds", text, None) for text in ("null", "None", "none")),
            *(("seeds", text, [0, 1]) for text in ("[0,1]", " [0, 1] ", "(0, 1)", (0, 1))),
            ("seeds", "(0,)", [0]),
            ("systems", "['Constant']", ["Constant"]),
            ("systems", ("Constant",), ["Constant"]),
            ("tasks", "('4Q', 'A')", ["4Q", "A"]),
            ("corpus", "null", None),
            ("cluster", "None", None),
            ("overrides", "{'Constant': {'a': True}}", {"Constant": {"a": True}}),
            ("overrides", '{"Constant": {"a": true}}', {"Constant": {"a": True}}),
        ],
    )
    def test_text_of_python_and_json(self, name: str, text: Any, value: Any) -> None:
        assert read_settings({name: text}) == Settings(**{name: value})

    @pytest.mark.parametrize(
        ("name", "value", "form"),
        [
            *(("seeds", value, "[0, 1]") for value in ("0,1", "[0, 1", "0, 1)")),
            ("seeds", 0, "[0]"),
            ("systems", "Constant", "['Constant']"),
            ("systems", "A, B", "['A', 'B']"),
            ("tasks", "4Q", "['4Q']"),
            ("compute", 1, "true or false"),
            ("compute", "yes", "true or false"),
            ("seeds", [0.0, 1.0], "a whole number, without point or quotes"),
            ("n_jobs", "2", "a whole number, without point or quotes"),
            ("overrides", "{'Constant': {'a': true}}", '{"Symbolic-LR": {"c_grid": [1.0]}}'),
        ],
    )
    def test_messages_show_the_form(self, name: str, value: Any, form: str) -> None:
        with pytest.raises(
            ParameterError, match=rf"'{name}' is .*; write it as {re.escape(form)}$"
        ):
            read_settings({name: value})

    def test_lists_and_dicts_may_be_json_text(self) -> None:
        given: dict[str, Any] = {"seeds": [0, 1], "systems": ["Constant"]}
        given["overrides"] = {"Symbolic-LR": {"c_grid": [1.0]}}
        texts = {name: json.dumps(value) for name, value in given.items()}
        assert read_settings(texts) == read_settings(given) == Settings(**given)

    def test_other_names_of_a_session_do_not_count(self) -> None:
        session = {"__name__": "__main__", "_i1": "profile = 3", "In": [""], "Out": {}, "np": np}
        assert read_settings({**session, "read_settings": read_settings}) == Settings()

    def test_unknown_name_lists_the_known_ones(self) -> None:
        message = r"unknown parameter 'profle'; the parameters are: profile, corpus, .*folder$"
        with pytest.raises(ParameterError, match=message) as caught:
            read_settings({"profle": "smoke"})
        # In a notebook it stands alone
        assert caught.value._render_traceback_() == [f"ParameterError: {caught.value}"]

    @pytest.mark.parametrize("name", ["profle", "seeds"])
    def test_parameters_are_those_of_the_cell(self, name: str) -> None:
        # papermill runs a cell of its own after the notebook's
        session = {"In": ["", "import this", "profile = 'quick'\ncompute = True", f"{name} = [0]"]}
        known = {"profile": "quick", "compute": False}
        assert read_settings({**session, **known}) == Settings(compute=False)
        message = f"unknown parameter '{name}'; the parameters are: profile, compute$"
        with pytest.raises(ParameterError, match=message):
            read_settings({**session, **known, name: [0]})

    def test_names_of_a_cell(self) -> None:
        assert assigned_names("a = 1\nb = [\n  2]\nc.d = 3\nprint(a)") == ["a", "b"]
        assert assigned_names("%matplotlib inline\na = 1") == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("profile", value) for value in (3, None)),
            *(("compute", value) for value in (1, "yes")),
            *(("seeds", value) for value in ("0, 1", "[0, 1", [0.0], [True], ["0"], 0)),
            *(("seeds", value) for value in ([np.int64(0)], np.arange(2))),
            *(("tasks", value) for value in ("4Q", [4])),
            *(("systems", value) for value in ("Constant", (1,))),
            *(("n_jobs", value) for value in (2.0, np.int64(2), "2", True)),
            ("overrides", []),
            ("overrides", {"Constant": 1}),
            ("corpus", Path("emopia")),
            ("cluster", 8786),
        ],
    )
    def test_wrong_types_are_refused(self, name: str, value: Any) -> None:
        with pytest.raises(ParameterError, match=rf"parameter '{name}' is .*: input should be"):
            read_settings({name: value})

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("profile", "big", "input should be 'smoke', 'quick', 'cpu' or 'paper'"),
            ("corpus", "emopa", "input should be 'emopia', 'composed', "),
            ("systems", ["Constant", "X"], "unknown system 'X'; the systems are: Constant; "),
            ("tasks", ["4Q", "Q"], "input should be '4Q', 'A', 'V' or 'cluster'"),
            ("tasks", [], "list should have at least 1 item"),
            ("tasks", ["A", "A"], r"expected each of \['A', 'A'\] once"),
            ("seeds", [], "list should have at least 1 item"),
            ("seeds", [1, 1], r"expected each of \[1, 1\] once"),
            ("seeds", [-1], "input should be greater than or equal to 0"),
            ("n_jobs", 0, "input should be greater than or equal to 1"),
            ("overrides", {"X": {}}, "unknown system 'X'; the systems are: Constant; "),
            ("transcribers", ["ear"], "input should be 'onsets-frames', "),
            ("separators", ["ear"], "input should be 'small' or 'htdemucs'"),
            ("tests", ["EMOPA"], "input should be 'composed', 'EMOPIA', "),
        ],
    )
    def test_unknown_values_list_the_known_ones(self, name: str, value: Any, message: str) -> None:
        for make in (read_settings, lambda values: Settings(**values)):
            with pytest.raises(ParameterError, match=message):
                make({name: value})

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            Settings().profile = "cpu"


class TestAssignments:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            *((text, text) for text in ("smoke", "4Q", "LSTM-Attn + REMI", "a=b", "", "{[]: 1}")),
            *(("[0,1]", [0, 1]), ("None", None), ("False", False), ("3", 3), ("0.5", 0.5)),
            *(("(0,1)", (0, 1)), ("0,1", "0,1"), ("null", None), ("false", False)),
            ("[true, null]", [True, None]),
            *(("'4Q'", "4Q"), ("tcp://host:8786", "tcp://host:8786")),
            ("{'Audio-LR': {'c_grid': [1.0]}}", {"Audio-LR": {"c_grid": [1.0]}}),
        ],
    )
    def test_values(self, text: str, value: Any) -> None:
        assert parse_assignments([f"x={text}"]) == {"x": value}

    def test_without_a_sign(self) -> None:
        with pytest.raises(ParameterError, match="found 'smoke'; expected name=value"):
            parse_assignments(["profile=smoke", "smoke"])

    def test_twice(self) -> None:
        with pytest.raises(ParameterError, match="parameter 'seeds' stands more than once"):
            parse_assignments(["seeds=[0]", "compute=true", "seeds=[1]"])


def test_project_is_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_PROJECT", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"is not inside a checkout .* set MER_PROJECT"):
        project_root()
    monkeypatch.delenv("MER_PROJECT")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_config.yml").touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert project_root() == tmp_path.resolve()
    assert store_folder(committed=True) == tmp_path.resolve() / "results"
    assert store_folder(committed=False) == tmp_path.resolve() / "_build" / "results"
