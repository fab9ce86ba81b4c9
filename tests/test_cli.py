"""The command line: what it prints, and one sentence for a user's mistake."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import INTERRUPTED, Run, start_program, write_table

import mer.__main__
from mer import __version__
from mer.corpora import CORPORA, module_of
from mer.errors import ParameterError
from mer.paths import cache_folder, data_folder
from mer.study import profiles


def test_version(mer: Run) -> None:
    assert mer("--version") == (0, f"{__version__}\n", "")


def test_check_prints_counts_and_splits(mer: Run) -> None:
    status, out, _ = mer("data", "check", "composed")
    assert status == 0
    assert "160 clips, 64 groups" in out
    assert "official: 1 x " in out
    assert "cv10: 10 x " in out


@pytest.mark.realdata
def test_check_names_the_leaky_split(mer: Run) -> None:
    status, out, _ = mer("data", "check", "emopia")
    assert status == 0
    assert "1078 clips, 387 groups, 250 Q1, 265 Q2, 253 Q3, 310 Q4" in out
    assert "split_cls: 1 x 767/198/86\n" in out
    assert "split_midibert: 1 x 864/107/107; groups cross it" in out


def test_what_a_corpus_warns_of_is_a_sentence(
    mer: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MER_DATA", str(tmp_path))
    header = ("song_id", "mean_arousal", "mean_valence")
    table = tmp_path / "emotion_in_music" / "annotations" / "static_annotations.csv"
    write_table(table, header, [[song, 5, 6] for song in range(30)])
    status, _, err = mer("data", "check", "emotion_in_music")
    assert status == 1
    assert "mer: corpus 'emotion_in_music': none of the 30 annotated clips has an audio" in err
    assert "Warning" not in err
    assert all(line.startswith("mer: ") for line in err.splitlines())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("data", "check", "emopai"), "unknown corpus 'emopai'; the corpora are: emopia, composed"),
        (("data", "fetch", "composed"), "corpus 'composed' needs no download"),
        (
            ("study", "--profile", "cpuu"),
            "parameter 'profile' is 'cpuu': input should be 'smoke', ",
        ),
        (("study", "-p", "sedes=[0]"), "unknown parameter 'sedes'; the parameters are: profile"),
        (("study", "-p", "systems=['X']"), "unknown system 'X'; the systems are: Constant; Song"),
        (("study", "-p", "seeds"), "found 'seeds'; expected name=value"),
        (("study", "-p", "seeds=zero"), "parameter 'seeds' is 'zero'"),
        (("study", "-p", "seeds=0,1"), "parameter 'seeds' is '0,1': input should be a valid list"),
        (
            ("study", "-p", "seeds=[0,", "1]"),
            "found '1]', which belongs to no option; expected quo",
        ),
        (("study", "--until", "0"), "until is 0 minutes; expected a positive number"),
        (("study", "--until", "1", "--jobs", "0"), "n_jobs is 0; expected 1 or more"),
        (
            ("study", "--until", "1", "--notebook", "corpora"),
            "--until trains the runs of all pages on this machine; leave out --notebook and",
        ),
        (("study", "--notebook", "baseline"), "unknown notebook 'baseline'; the notebooks are:"),
    ],
)
def test_mistakes_end_with_one_sentence(
    mer: Run, arguments: tuple[str, ...], expected: str
) -> None:
    status, out, err = mer(*arguments)
    assert status == 1
    assert err.startswith(f"mer: {expected}")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err


@pytest.mark.parametrize("arguments", [("study", "--profile", "smoke"), ("book",)])
@pytest.mark.parametrize(
    ("part", "name", "known"),
    [("rows", "STFT input", "Constant; "), ("pages", "zhao23", "corpora; ")],
)
def test_names_that_a_profile_misspells(
    mer: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    part: str,
    name: str,
    known: str,
) -> None:
    wrong = profiles.get_profile("smoke").model_copy(update={part: {name: {}}})
    monkeypatch.setattr(profiles, "get_profile", {"smoke": wrong}.__getitem__)
    status, _, err = mer(*arguments)
    assert status == 1
    kind = part.removesuffix("s")
    assert f"smoke.yaml: unknown {kind} {name!r}; the {part} are: {known}" in err
    assert err.count("\n") == 1


def test_missing_data_folder_says_what_to_do(
    mer: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MER_DATA", str(tmp_path / "none"))
    status, _, err = mer("data", "check", "emopia")
    assert status == 1
    assert f"{tmp_path / 'none' / 'emopia'} does not exist" in err
    assert "mer data fetch emopia" in err


def test_list_says_where_missing_corpora_come_from(
    mer: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Such a name looks like markup of the library that prints the table
    monkeypatch.setenv("MER_DATA", str(tmp_path / "[/b] :smile: \udcff"))
    monkeypatch.setenv("COLUMNS", "1000")
    status, out, err = mer("data", "list")
    assert (status, err) == (0, "")
    assert "/[/b] :smile: \\udcff" in out
    rows = dict(line.strip("│ ").split(None, 1) for line in out.splitlines() if "│" in line)
    assert list(rows) == list(CORPORA)
    for name in CORPORA:
        text = getattr(module_of(name), "OBTAIN", f"'mer data fetch {name}'")
        assert ("ready" if "composed" in name else text.replace("\udcff", "?")) in rows[name]


def test_warnings_of_a_corpus_stay_out_of_the_list(
    mer: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MER_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    header = ("song_id", "mean_arousal", "mean_valence")
    table = tmp_path / "emotion_in_music" / "annotations" / "static_annotations.csv"
    write_table(table, header, [[song, 5, 6] for song in range(30)])
    status, out, err = mer("data", "list")
    assert (status, err) == (0, "")
    assert "│ ready; 'mer data check emotion_in_music' says what it lacks" in out


def test_outside_a_checkout(mer: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = mer("book")
    assert status == 1
    assert "is not inside a checkout of the project" in err


def test_interrupt_that_python_hides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a class is made, Python 3.11 raises a RuntimeError from the interrupt."""

    def interrupted() -> None:
        raise RuntimeError from KeyboardInterrupt()

    monkeypatch.setattr("mer.cli.main", interrupted)
    for name in ("signal.signal", "gc.freeze"):
        monkeypatch.setattr(f"mer.__main__.{name}", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        mer.__main__.main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "mer: interrupted; what was stored is kept\n"


@pytest.mark.parametrize("variable", ["MER_DATA", "MER_CACHE"])
def test_home_of_nobody(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "~nobody-of-that-name/x")
    with pytest.raises(ParameterError, match=rf"{variable} is '~nobody-of-that-name/x'; expected"):
        (data_folder if variable == "MER_DATA" else cache_folder)()


def test_empty_folder_of_caches_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path("~/.cache/mer").expanduser()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for signal handlers in /proc")
@pytest.mark.parametrize("moment", [0.0, 0.05, 0.15, 0.3])
def test_interrupted_while_it_is_loaded(moment: float) -> None:
    process = start_program("transcribe", "--help")
    time.sleep(moment)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    if process.returncode:
        assert process.returncode in INTERRUPTED
        assert output == "" or "Usage:" in output  # all was done
        assert errors == "mer: interrupted; what was stored is kept\n"
