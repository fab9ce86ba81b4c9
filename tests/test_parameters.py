"""Parameters of notebooks and of the command line, and the profiles that they choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer.corpora import LABELLED
from mer.errors import MissingDataError, ParameterError
from mer.study.baselines import BASELINES, CROSS_VALIDATED, published_baselines
from mer.study.parameters import (
    CorpusParameters,
    RegressionParameters,
    StudyParameters,
    check,
    parameters,
    parse_assignments,
)
from mer.study.profiles import PROFILES, default_split, get_profile
from mer.study.project import project_root, store_folder
from mer.study.specs import resolve
from mer.systems import SYSTEMS


class TestNamespace:
    def test_defaults(self) -> None:
        assert parameters({}, CorpusParameters) == CorpusParameters(
            profile="quick", corpus=None, compute=True
        )
        settings = parameters({}, StudyParameters)
        assert settings.tasks == ["4Q", "A", "V"]
        assert (settings.systems, settings.seeds, settings.n_jobs) == (None, None, None)
        assert (settings.overrides, settings.cluster) == ({}, None)

    def test_lists_and_dicts_may_be_json_text(self) -> None:
        given = {"seeds": "[0, 1]", "systems": '["Constant"]', "overrides": "{}"}
        settings = parameters(given, StudyParameters)
        assert (settings.seeds, settings.systems) == ([0, 1], ["Constant"])
        assert settings.overrides == {}

    def test_takes_what_the_cell_has_set(self) -> None:
        cell = {
            "profile": "smoke",
            "corpus": "emopia",
            "seeds": [0, 1],
            "tasks": ["A"],
            "systems": ["Constant"],
            "overrides": {"Symbolic-LR": {"c_grid": [1.0]}},
        }
        settings = parameters(cell, StudyParameters)
        assert {name: getattr(settings, name) for name in cell} == cell

    def test_other_names_of_a_session_do_not_count(self) -> None:
        namespace = {
            "__name__": "__main__",
            "_i1": "profile = 3",
            "In": [""],
            "Out": {},
            "np": np,
            "parameters": parameters,
            "StudyParameters": StudyParameters,
        }
        assert parameters(namespace, StudyParameters) == StudyParameters()

    @pytest.mark.parametrize(
        ("model", "last"),
        [
            (CorpusParameters, "compute"),
            (StudyParameters, "tasks"),
            (RegressionParameters, "cluster"),
        ],
    )
    def test_unknown_name_lists_the_known_ones(self, model: Any, last: str) -> None:
        message = rf"unknown parameter 'profle'; the parameters are: profile, corpus, .*{last}$"
        with pytest.raises(ParameterError, match=message):
            parameters({"profle": "smoke"}, model)

    def test_parameter_of_another_notebook(self) -> None:
        with pytest.raises(ParameterError, match="unknown parameter 'seeds'"):
            parameters({"seeds": [0]}, CorpusParameters)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("profile", 3),
            ("profile", None),
            ("compute", 1),
            ("compute", "True"),
            ("seeds", "(0, 1)"),  # what papermill makes of a tuple
            ("seeds", "[0, 1"),
            ("seeds", (0, 1)),
            ("seeds", [0.0]),
            ("seeds", [True]),
            ("seeds", ["0"]),
            ("seeds", [np.int64(0)]),
            ("seeds", np.arange(2)),
            ("seeds", 0),
            ("tasks", "4Q"),
            ("tasks", ("4Q",)),
            ("tasks", [4]),
            ("systems", "Constant"),
            ("systems", ("Constant",)),
            ("n_jobs", 2.0),
            ("n_jobs", np.int64(2)),
            ("n_jobs", "2"),
            ("n_jobs", True),
            ("corpus", Path("emopia")),
            ("overrides", []),
            ("overrides", {"Constant": 1}),
            ("cluster", 8786),
        ],
    )
    def test_wrong_types_are_refused(self, name: str, value: Any) -> None:
        with pytest.raises(ParameterError, match=rf"parameter '{name}.*' is .*: input should be"):
            parameters({name: value}, StudyParameters)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("profile", "big", "unknown profile 'big'; the profiles are: smoke, quick, cpu, paper"),
            ("corpus", "emopa", "unknown corpus 'emopa'; the corpora are: emopia, composed"),
            ("systems", ["Constant", "X"], "unknown system 'X'; the systems are: Constant, "),
            ("tasks", ["4Q", "Q"], "unknown task 'Q'; the tasks are: 4Q, A, V"),
            ("tasks", [], "tasks is empty; the tasks are: 4Q, A, V"),
            ("tasks", ["A", "A"], r"tasks is .*; expected each task once"),
            ("seeds", [], r"seeds is \[\]; expected different whole numbers from 0"),
            ("seeds", [1, 1], "expected different whole numbers from 0"),
            ("seeds", [-1], "expected different whole numbers from 0"),
            ("n_jobs", 0, "n_jobs is 0; expected 1 or more"),
            ("overrides", {"X": {}}, "unknown system in overrides 'X'; the systems are: "),
        ],
    )
    def test_unknown_values_list_the_known_ones(self, name: str, value: Any, message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            check({name: value}, StudyParameters)

    def test_settings_cannot_be_changed(self) -> None:
        settings = StudyParameters()
        with pytest.raises(ValueError, match="frozen"):
            settings.profile = "cpu"


class TestAssignments:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("smoke", "smoke"),
            ("[0,1]", [0, 1]),
            ("None", None),
            ("False", False),
            ("3", 3),
            ("0.5", 0.5),
            ("'4Q'", "4Q"),
            ("4Q", "4Q"),
            ("{'Audio-LR': {'c_grid': [1.0]}}", {"Audio-LR": {"c_grid": [1.0]}}),
            ("LSTM-Attn + REMI", "LSTM-Attn + REMI"),
            ("tcp://host:8786", "tcp://host:8786"),
            ("a=b", "a=b"),
            ("", ""),
            ("{[]: 1}", "{[]: 1}"),
        ],
    )
    def test_values(self, text: str, value: Any) -> None:
        assert parse_assignments([f"x={text}"]) == {"x": value}

    def test_several(self) -> None:
        found = parse_assignments(["profile=smoke", "seeds=[0,1]"])
        assert check(found, StudyParameters).seeds == [0, 1]

    def test_without_a_sign(self) -> None:
        with pytest.raises(ParameterError, match="found 'smoke'; expected name=value"):
            parse_assignments(["smoke"])

    def test_tuple_is_refused_later(self) -> None:
        with pytest.raises(ParameterError, match=r"parameter 'seeds' is \(0, 1\)"):
            check(parse_assignments(["seeds=(0,1)"]), StudyParameters)


class TestProfiles:
    def test_names(self) -> None:
        assert list(PROFILES) == ["smoke", "quick", "cpu", "paper"]
        assert all(get_profile(name).name == name for name in PROFILES)

    @pytest.mark.parametrize("name", PROFILES)
    def test_overrides_fit_the_systems(self, name: str) -> None:
        profile = get_profile(name)
        assert set(profile.overrides) <= set(SYSTEMS)
        for system in SYSTEMS:
            resolve(system, profile.overrides.get(system, {}))
        assert {profile.corpus, profile.regression_corpus} <= set(LABELLED)
        assert profile.committed == (profile.corpus == "emopia")

    def test_paper_takes_the_published_hyper_parameters(self) -> None:
        assert get_profile("paper").overrides == {}

    @pytest.mark.parametrize("corpus", LABELLED)
    def test_every_corpus_has_a_split_of_each_kind(self, corpus: str) -> None:
        assert default_split(corpus, "single")
        assert default_split(corpus, "cv").startswith("cv")

    def test_nested_split_is_refused_where_there_is_none(self) -> None:
        assert default_split("emotify", "nested") == "nested5x5"
        with pytest.raises(ParameterError, match=r"'emopia' has no split for 'nested'.*emotify"):
            default_split("emopia", "nested")

    def test_baselines_are_registered_and_published(self) -> None:
        assert set(BASELINES) <= set(SYSTEMS)
        assert set(CROSS_VALIDATED) <= set(BASELINES)
        published = published_baselines()
        assert published["LSTM-Attn + MIDI-like", "4Q"] == pytest.approx(0.684)
        assert published["Short-chunk ResNet", "4Q"] == pytest.approx(0.677)
        assert {system for system, _ in published} < set(BASELINES)
        assert all(0.5 < value < 1 for value in published.values())


class TestProject:
    def test_root_is_found_from_below(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MER_PROJECT", raising=False)
        (tmp_path / "notebooks").mkdir()
        (tmp_path / "_config.yml").touch()
        monkeypatch.chdir(tmp_path / "notebooks")
        assert project_root() == tmp_path.resolve()
        assert store_folder(committed=True) == tmp_path.resolve() / "results"
        assert store_folder(committed=False) == tmp_path.resolve() / "_build" / "results"

    def test_no_project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MER_PROJECT", str(tmp_path))
        with pytest.raises(MissingDataError, match=r"is not inside a checkout .* set MER_PROJECT"):
            project_root()


def test_messages_stand_alone_in_a_notebook() -> None:
    with pytest.raises(ParameterError) as caught:
        check({"profle": 1}, StudyParameters)
    message = f"ParameterError: {caught.value}"
    assert caught.value._render_traceback_() == [message]
