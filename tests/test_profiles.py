"""Profiles: their files, and what they make of rows."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
from rows import ROWS

from mer.corpora import LABELLED
from mer.errors import InvalidDataError, ParameterError
from mer.papers.emopia.systems import TokenNetwork
from mer.study import profiles
from mer.study.book import NOTEBOOKS
from mer.study.profiles import NAMES, Profile, get_profile

LSTM = "LSTM-Attn + MIDI-like"
NETWORKS = {name: system for name, system in ROWS.items() if system.family}


def profile(**changes: Any) -> Profile:
    given: dict[str, Any] = {"corpora": {}, "seeds": [0], "families": {"LSTM-Attn": {"epochs": 7}}}
    return Profile(name="own", purpose="", **{**given, **changes})


class TestFiles:
    @pytest.mark.parametrize("name", NAMES)
    def test_is_valid(self, name: str) -> None:
        found = get_profile(name)
        assert found.name == name
        assert set(found.corpora) == {"classes", "regression", "segments"}
        corpora = {corpus for several in found.corpora.values() for corpus in several}
        assert corpora | set(found.corpus_options) <= set(LABELLED)
        assert found.committed == (found.corpora["classes"] == ["emopia"])
        assert found.seeds == list(range(len(found.seeds)))

    @pytest.mark.parametrize("name", NAMES)
    def test_every_row_of_the_papers_has_its_size(self, name: str) -> None:
        found = get_profile(name)
        assert {system.family for system in NETWORKS.values()} == set(found.families)
        profiles.check_names(name, rows=ROWS, pages=NOTEBOOKS)
        for row, system in ROWS.items():
            found.sized(row, system)

    def test_smaller_profiles_make_every_network_smaller(self) -> None:
        for row, system in NETWORKS.items():
            assert get_profile("smoke").sized(row, system) != system

    def test_paper_takes_the_published_hyper_parameters(self) -> None:
        assert {row: get_profile("paper").sized(row, s) for row, s in ROWS.items()} == ROWS

    def test_unknown_name(self) -> None:
        with pytest.raises(ParameterError, match="unknown profile 'big'; the profiles are: smoke,"):
            get_profile("big")

    def test_pages(self) -> None:
        assert get_profile("smoke").of_page("transcription") == {"tests": ["composed"]}
        assert get_profile("smoke").of_page("corpora") == {}


class TestSized:
    def test_family_then_row(self) -> None:
        found = profile(rows={LSTM: {"window": 64}}).sized(LSTM, TokenNetwork())
        assert found == TokenNetwork(epochs=7, window=64)
        assert profile().sized("another row", TokenNetwork()) == TokenNetwork(epochs=7)

    def test_what_a_row_sets_itself_stays(self) -> None:
        own = TokenNetwork(epochs=3)
        assert profile().sized(LSTM, own) == own
        assert profile(rows={LSTM: {"epochs": 5}}).sized(LSTM, own) == TokenNetwork(epochs=5)

    def test_what_a_row_states_stays_though_it_is_the_default(self) -> None:
        usual = TokenNetwork()
        for own in (TokenNetwork(epochs=usual.epochs), usual.configured({"epochs": usual.epochs})):
            for row in (own, pickle.loads(pickle.dumps(own)), own.configured({"window": 9})):
                assert profile().sized(LSTM, row) == row
        other = dataclasses.replace(usual, window=9)
        assert profile().sized(LSTM, other) == TokenNetwork(epochs=7, window=9)

    def test_systems_without_a_network_need_no_size(self) -> None:
        for row in ("Constant", "Symbolic-SVM"):
            assert profile(families={}).sized(row, ROWS[row]) == ROWS[row]
        grid = profile(rows={"Symbolic-SVM": {"c_grid": [1.0]}})
        found = grid.sized("Symbolic-SVM", ROWS["Symbolic-SVM"])
        assert found == dataclasses.replace(ROWS["Symbolic-SVM"], c_grid=(1.0,))  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"families": {"C1D": {}}}, "'own' does not mention the family 'LSTM-Attn'; it has: C"),
            ({"families": {"LSTM-Attn": {"pool": 1}}}, "TokenNetwork has no parameter 'pool'"),
            ({"families": {"LSTM-Attn": {"epochs": "7"}}}, "epochs is '7': input should be"),
            ({"rows": {LSTM: {"pool": 1}}}, "TokenNetwork has no parameter 'pool'"),
        ],
    )
    def test_mistakes(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            profile(**changes).sized(LSTM, TokenNetwork())

    def test_unknown_entry_of_a_file(self) -> None:
        with pytest.raises(ValueError, match="famlies"):
            profile(famlies={})


@pytest.mark.parametrize("text", ["", "seeds: [0", "purpose: x\nfamilies: 3\n", "[]", "speed: 3\n"])
def test_damaged_file_is_named(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "cpu.yaml").write_text(text)
    monkeypatch.setattr(profiles, "__file__", str(tmp_path / "profiles.py"))
    with pytest.raises(InvalidDataError, match=r"cpu\.yaml is no profile"):
        profiles.get_profile.__wrapped__("cpu")
