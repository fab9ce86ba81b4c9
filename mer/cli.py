"""Command line: mer predict, study, book, data, transcribe, separate, train."""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from mer import __version__
from mer.errors import DataWarning, MerError, MissingDataError, ParameterError
from mer.files import told
from mer.paths import data_folder

app = typer.Typer(
    help="Music emotion recognition: predict the emotion of music, rerun the study, build the "
    "book, look at the data, transcribe and separate audio.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data = typer.Typer(help="Datasets: what is here, and downloading.", no_args_is_help=True)
app.add_typer(data, name="data")
_INTERRUPTED = 130
_WIDE = 160
"""Characters of a table that goes to a file."""


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def study(
    profile: Annotated[str, typer.Option(help="smoke, quick, cpu or paper.")] = "quick",
    notebook: Annotated[
        list[str] | None, typer.Option(help="Only this notebook; may stand more than once.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", help="name=value, such as seeds=[0,1]; may repeat."),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Dask scheduler, such as tcp://scheduler:8786.")
    ] = None,
    n_jobs: Annotated[
        int | None, typer.Option("--n-jobs", "--jobs", help="Processes; one a core if left out.")
    ] = None,
    until: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="Only train what is not stored, from a queue, and end after so many minutes; "
            "the same command goes on later.",
        ),
    ] = None,
    rest: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Run the notebooks: compute what is not stored, and store it."""
    if rest:
        raise ParameterError(
            f"found {rest[0]!r}, which belongs to no option; expected quotes around a parameter "
            "with spaces, such as -p 'seeds=[0, 1]'"
        )
    from mer.study.notebooks import start_server

    if until is None:
        start_server(["mer.papers.overview"])
    from mer.study.book import execute_notebooks
    from mer.study.profiles import NAMES
    from mer.study.settings import parse_assignments

    if profile in NAMES:
        _check_profiles(profile)
    parameters = parse_assignments(parameter or [])
    if "profile" in parameters:
        raise ParameterError("profile stands among the parameters; use --profile")
    if until is not None:
        _train_until({**parameters, "profile": profile}, until, n_jobs, notebook, cluster)
        return
    own = {"cluster": cluster, "n_jobs": n_jobs}
    parameters |= {name: value for name, value in own.items() if value is not None}
    for path in execute_notebooks(profile, parameters=parameters, names=notebook):
        typer.echo(f"wrote {path}")


def _train_until(
    parameters: dict[str, Any],
    minutes: float,
    n_jobs: int | None,
    notebook: list[str] | None,
    cluster: str | None,
) -> None:
    if notebook or cluster:
        raise ParameterError(
            "--until trains the runs of all pages on this machine; "
            "leave out --notebook and --cluster"
        )
    from mer.papers.runs import train_until

    progress = train_until(parameters, minutes, n_jobs, typer.echo)
    typer.echo(f"stored {progress.done} runs; {progress.waiting} wait for the same command")
    if progress.failed:
        raise MerError(f"{len(progress.failed)} runs failed, the first is {progress.failed[0]}")


@app.command()
def book(
    repository: Annotated[
        str, typer.Option(help="Address of the project on GitHub: adds links, Binder and Colab.")
    ] = "",
) -> None:
    """Build the book from stored runs."""
    from mer.study.notebooks import start_server

    start_server(["mer.papers.overview"])
    from mer.papers.overview import write_tables
    from mer.study.book import build_book
    from mer.study.profiles import NAMES

    _check_profiles(*NAMES)
    typer.echo(f"wrote {build_book(write_tables, repository=repository)}")


def _check_profiles(*names: str) -> None:
    from mer.papers.overview import KNOWN_ROWS  # those of all papers
    from mer.study.book import NOTEBOOKS
    from mer.study.profiles import check_names

    for name in names:
        check_names(name, rows=KNOWN_ROWS, pages=NOTEBOOKS)


@app.command()
def readme() -> None:
    """Write the headline table of the README anew from stored runs."""
    from mer.papers.overview import update_readme
    from mer.study.project import project_root

    path = project_root() / "README.md"
    typer.echo(f"{path}: {'changed' if update_readme(path) else 'unchanged'}")


class _Format(StrEnum):
    csv = "csv"
    json = "json"
    html = "html"
    parquet = "parquet"


@app.command()
def predict(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Audio and MIDI files, and folders of them.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for the tables; the same command goes on there after an interruption. "
            "If left out, the answers are only shown.",
        ),
    ] = None,
    formats: Annotated[
        list[_Format] | None,
        typer.Option(
            "--format",
            help="csv (tables; always), parquet (the same, in parts of 1,000 songs), json "
            "(everything in one file), html (a page a song); may stand more than once.",
        ),
    ] = None,
    segments: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Also over time: segments of 3 s or more, a second apart."
        ),
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also of vocals, bass, drums and the rest alone.")
    ] = False,
    notes: Annotated[
        bool, typer.Option("--notes", help="Also of the notes, for piano music: transcribed.")
    ] = False,
    collection: Annotated[
        bool,
        typer.Option(
            "--collection",
            help="Standardise by these files (20 or more of mixed moods): for a sound that the "
            "model does not know.",
        ),
    ] = False,
    n_jobs: Annotated[
        int | None, typer.Option("--n-jobs", "--jobs", min=1, help="Processes; one a core at most.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Dask scheduler, such as tcp://scheduler:8786.")
    ] = None,
    about: Annotated[bool, typer.Option("--about", help="Say what the model is, and end.")] = False,
) -> None:
    """Predict valence, arousal, quadrant and mood cluster of music."""
    from mer.prediction.batch import SHOWN, run
    from mer.prediction.model import about_model
    from mer.prediction.songs import Options

    if about:
        typer.echo(about_model())
        return
    kinds = {kind.value for kind in formats or ()}
    if not paths:
        raise ParameterError("no file is named; expected audio files, MIDI files or folders")
    asked = {f"--format {kind}": True for kind in sorted(kinds)}
    asked |= {"--segments": segments is not None, "--sources": sources, "--notes": notes}
    if output is None and any(asked.values()):
        first = next(name for name, wanted in asked.items() if wanted)
        raise ParameterError(f"{first} needs a folder to write in: add -o FOLDER")
    options = Options(segments=segments, sources=sources, notes=notes)
    form: dict[str, Any] = {"n_jobs": n_jobs, "cluster": cluster}
    found = run(paths, options, output, kinds=kinds, collection=collection, **form)
    width = None if sys.stdout.isatty() else _WIDE
    if found.songs:
        console = Console(markup=False, emoji=False, highlight=False, width=width)
        console.print(_summary(found.first, found.songs))
    for path in found.written:
        typer.echo(f"wrote {path}")
    errors = [song["error"] for song in found.errors]
    told_of = {"warnings are in the table": found.warnings, "files have no answer": errors}
    for more, texts in told_of.items():
        for text in texts[:SHOWN]:
            print(f"mer: {text}", file=sys.stderr)
        if len(texts) > SHOWN:
            print(f"mer: {len(texts) - SHOWN} more {more}", file=sys.stderr)
    if not found.songs:
        raise MerError("no file has an answer")


def _summary(songs: list[dict[str, Any]], total: int) -> Table:
    """Of the first songs, for people."""
    from mer.prediction.model import load_model

    table = Table(
        Column("file", overflow="fold"), *("valence", "arousal", "quadrant", "mood", "note")
    )
    names = [Path(song["file"]).name for song in songs]
    for song in songs:
        values = [
            f"{song[n]:+.2f} [{song[f'{n}_low']:+.2f}, {song[f'{n}_high']:+.2f}]"
            for n in ("valence", "arousal")
        ]
        quadrant = f"Q{song['quadrant']} ({song['q{}'.format(song['quadrant'])]:.0%})"
        odd = "outside what the model knows" if song["outside"] else ""
        odd = "in training" if song["in_training"] else odd
        mood = f"{song['mood']} ({song['cluster_{}'.format(song['cluster'])]:.0%})"
        file = song["file"] if len(set(names)) < len(names) else Path(song["file"]).name
        shown = file.encode("utf-8", "backslashreplace").decode()
        table.add_row(shown, *values, quadrant, mood, odd)
    valence, arousal = load_model().mean_rating
    table.caption = (
        f"90 % intervals. Rated songs have a mean valence of {valence:+.2f} and arousal of "
        f"{arousal:+.2f}; quadrants are predicted on their own, not from the signs of these values."
    )
    if total > len(songs):
        table.caption += f" {total - len(songs)} more songs are not shown."
    return table


@app.command()
def transcribe(
    audio: Annotated[Path, typer.Argument(help="Audio file of any length.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="MIDI file, replaced where it exists; if left out, a new one beside the audio.",
        ),
    ] = None,
    transcriber: Annotated[
        str,
        typer.Option(
            help="onsets-frames, onsets-frames-varied, piano-transcription-inference, basic-pitch."
        ),
    ] = "onsets-frames",
) -> None:
    """Write the notes of a piano recording as MIDI."""
    from mer.audio import audio_seconds
    from mer.transcription import get_transcriber, transcribe_file, write_midi

    expected = audio_seconds(audio)
    target = _midi_target(audio, output)
    listener = get_transcriber(transcriber)
    with _audio_bar(expected) as (on_block, blocks):
        notes = transcribe_file(audio, listener, on_block=on_block)
    write_midi(notes, target)
    counts = {0: "no note was found", 1: "1 note"}
    found = counts.get(len(notes), f"{len(notes)} notes")
    typer.echo(f"wrote {target}: {found} in {_duration(sum(blocks))} of audio")


@app.command()
def separate(
    audio: Annotated[Path, typer.Argument(help="Audio file of any length.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder, whose stems are replaced where it has some; if left out, a new one "
            "beside the audio.",
        ),
    ] = None,
    separator: Annotated[
        str, typer.Option(help="small, or htdemucs, whose weights are fetched.")
    ] = "small",
) -> None:
    """Write the drums, the bass, the vocals and the rest of a recording as audio files."""
    from mer.audio import audio_channels, audio_seconds
    from mer.separation import SOURCES, get_separator, separate_file, stem_files

    expected, channels = audio_seconds(audio), audio_channels(audio)
    target = _stem_target(audio, output)
    splitter = get_separator(separator)
    rate = splitter.sample_rate
    form: dict[str, Any] = {"sample_rate": rate, "channels": channels, "seconds": expected}
    with (
        _audio_bar(expected) as (on_block, blocks),
        _new_folder(target),
        stem_files(target, separator=separator, **form) as write,
    ):
        for stems in separate_file(audio, splitter, on_block=on_block):
            write(stems)
    made = f"{_duration(sum(blocks))} at {rate} Hz, by separator {separator}"
    typer.echo(f"wrote {', '.join(SOURCES)} in {target}: {made}")


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="Name in mer/weights/index.json.")],
    soundfont: Annotated[
        list[Path] | None,
        typer.Option(help="SF2 file that plays to what is trained; may stand more than once."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Train weights that come with the package anew, in their place."""
    from mer.papers.zhu2023 import attention
    from mer.study.weights import TRAINERS, train_weights

    trainers = {**TRAINERS, **attention.TRAINERS}
    facts = train_weights(name, soundfonts=soundfont or (), seed=seed, trainers=trainers)
    for key, value in facts.items():
        typer.echo(f"{key.replace('_', ' ')}: {value}")


def _midi_target(audio: Path, output: Path | None) -> Path:
    target = audio.with_suffix(".mid") if output is None else output
    if target.suffix.lower() not in (".mid", ".midi"):
        raise ParameterError(f"output is {target}; expected a name that ends in .mid")
    if not target.parent.is_dir():
        raise MissingDataError(f"{target.parent} does not exist; expected a folder to write in")
    if not os.access(target.parent, os.W_OK) or target.is_dir():
        raise ParameterError(f"{target} cannot be written; name another file with -o")
    if output is None and target.exists():
        raise ParameterError(f"{target} exists already; replace it with -o {target}")
    return target


def _stem_target(audio: Path, output: Path | None) -> Path:
    from mer.separation import stem_paths

    target = audio.with_name(f"{audio.stem}-stems") if output is None else output
    if not target.parent.is_dir():
        raise MissingDataError(f"{target.parent} does not exist; expected a folder to write in")
    if target.exists() and not target.is_dir():
        raise ParameterError(f"output is {target}, a file; expected a folder")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise ParameterError(f"{target} cannot be written; name another folder with -o")
    paths = stem_paths(target)
    if any(path.is_dir() or path.resolve() == audio.resolve() for path in paths):
        raise ParameterError(f"{target} cannot take the stems; name another folder with -o")
    if output is None and any(path.exists() for path in paths):
        raise ParameterError(f"{target} has stems already; replace them with -o {target}")
    return target


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Takes the folder away again if the block raises and has left it empty."""
    is_new = not folder.exists()
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if is_new:
                folder.rmdir()
        raise


@contextmanager
def _audio_bar(seconds: float) -> Iterator[tuple[Callable[[float], None], list[float]]]:
    """What to call with the seconds of each block of audio, and those of all so far."""
    from tqdm import tqdm

    blocks: list[float] = []
    form = "{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of audio [{elapsed}<{remaining}]"
    # Hidden where nobody looks (disable=None), and for what is done in two seconds
    with tqdm(total=seconds, bar_format=form, delay=2, leave=False, disable=None) as bar:

        def on_block(block: float) -> None:
            blocks.append(block)
            bar.update(block)

        yield on_block, blocks


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(hours or minutes)
    return " ".join([*parts, f"{rest} s"])


@data.command("list")
def list_data() -> None:
    """Show the corpora and whether their data are here."""
    from mer.corpora import CORPORA, load

    table = Table("corpus", "clips", "groups", "state", title=f"datasets below {data_folder()}")
    for name in CORPORA:
        try:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always", DataWarning)
                counts = load(name).counts()
            state = f"ready; 'mer data check {name}' says what it lacks" if found else "ready"
            table.add_row(name, str(counts["clips"]), str(counts["groups"]), state)
        except (MerError, OSError) as error:
            table.add_row(name, "–", "–", str(error))
    Console(markup=False, emoji=False).print(table)  # paths may look like either


@data.command()
def check(name: Annotated[str, typer.Argument(help="Name of a corpus.")]) -> None:
    """Check counts, files and splits of a corpus."""
    from mer.corpora import load

    corpus = load(name)
    corpus.check()
    counts = ", ".join(f"{count} {what}" for what, count in corpus.counts().items())
    typer.echo(f"{name}: {counts}")
    for split_name in corpus.split_names:
        split = corpus.split(split_name)
        first = split.folds[0]
        sizes = "/".join(str(len(part)) for part in (first.train, first.valid, first.test))
        leak = "; groups cross it" if split.leaky else ""
        typer.echo(f"  {split_name}: {len(split.folds)} x {sizes}{leak}")


@data.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of a corpus that can be downloaded.")],
    url: Annotated[str | None, typer.Option(help="A mirror of the archive.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to; $MER_DATA if left out.")] = None,
) -> None:
    """Download a corpus into the data folder."""
    from mer.corpora import load, remote_of
    from mer.corpora.remote import fetch as download

    remote = remote_of(name)
    if remote.sha256 is None:
        typer.echo(f"no checksum of {remote.name} is known: its counts are checked instead")
    path = download(remote, folder or data_folder(), url=url)
    typer.echo(f"wrote {path}")
    load(name, folder=path).check()


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Prints what is said of data as one sentence, without the line of code."""
    with warnings.catch_warnings():
        default = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if issubclass(category, DataWarning):
                print(f"mer: {message}", file=sys.stderr)
            else:
                default(message, category, *place)

        setattr(warnings, "showwarning", show)  # noqa: B010 - its type names every argument
        yield


def main() -> None:
    """Run the command line; a user's mistake ends it with one sentence and status 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no process stays behind
    try:
        with _plain_warnings():
            app()
    except MerError as error:
        print(f"mer: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # such as a full disk
        print(f"mer: {told(error)}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # as typer ends what was interrupted
            print("mer: interrupted; what was stored is kept", file=sys.stderr)
        raise
