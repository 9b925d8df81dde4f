"""`auricle corpus`: what there is to measure on, whether it is sound, and making more of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli.console import AsJson, dash, make_table, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from auricle.corpus import Corpus, Utterance

corpus_app = typer.Typer(help="Corpora: list, show, check, synth, import.", no_args_is_help=True, rich_markup_mode=None)
Spec = Annotated[str, typer.Argument(metavar="CORPUS", help="Name from `auricle corpus list`, manifest or folder.")]
Language = Annotated[str | None, typer.Option(help="Language of a source that states none, such as hi.")]
SHOWN_UTTERANCES = 10


@corpus_app.command("list")
def list_corpora(as_json: AsJson = False) -> int:
    """Show the corpora that are here, and the forms of those that can be named."""
    from auricle.corpus import known_corpora

    known = known_corpora()
    if as_json:
        for name, description in known.items():
            print_json({"name": name, "description": description})
        return 0
    table = make_table("corpus", "what it is")
    for name, description in known.items():
        table.add_row(name, description)
    print_table(table)
    return 0


@corpus_app.command("show")
def show_corpus(
    spec: Spec,
    language: Language = None,
    limit: Annotated[int, typer.Option(min=0, help="Utterances to show.")] = SHOWN_UTTERANCES,
    as_json: AsJson = False,
) -> int:
    """Show what a corpus holds."""
    corpus = _open(spec, language)
    if as_json:
        print_json(_facts(corpus) | {"utterances": [_row(utterance) for utterance in corpus.utterances]})
        return 0
    table = make_table("what", "value")
    for name, value in _facts(corpus).items():
        table.add_row(name, dash(value if not isinstance(value, tuple) else ", ".join(value)))
    print_table(table)
    table = make_table("utterance", "speaker", "s", "text", right=("s",))
    for utterance in corpus.utterances[:limit]:
        table.add_row(utterance.id, dash(utterance.speaker), f"{utterance.duration_s:.1f}", utterance.text)
    print_table(table)
    if len(corpus.utterances) > limit:
        say(f"{len(corpus.utterances) - limit} more; --limit shows them")
    return 0


@corpus_app.command("check")
def check_corpus(spec: Spec, as_json: AsJson = False) -> int:
    """Look for every problem at once: missing files, empty texts, duplicates, wrong durations, bad times."""
    from auricle.corpus import check_source

    with progress_bar("utterances") as show:
        problems = check_source(spec, lambda done, total: show(done, total, "checking"))
    for problem in problems:
        if as_json:
            print_json(asdict(problem))
        else:
            print(problem)
    say(f"{spec}: {len(problems)} problems" if problems else f"{spec}: no problems")
    return 1 if problems else 0


@corpus_app.command("synth")
def synth_corpus(
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the corpus.")],
    texts: Annotated[Path | None, typer.Option(help="File with one text a line; otherwise built-in sentences.")] = None,
    backend: Annotated[str, typer.Option(help="flite or espeak-ng.")] = "flite",
    language: Annotated[str, typer.Option(help="Language of the texts.")] = "en",
    voice: Annotated[list[str] | None, typer.Option(help="Voice, repeatable; otherwise all of the language.")] = None,
    rate: Annotated[list[float] | None, typer.Option(help="Speed, 1 is the voice's own; repeatable.")] = None,
    snr_db: Annotated[float | None, typer.Option(help="Add noise at this ratio of speech to noise.")] = None,
    noise: Annotated[str, typer.Option(help="white or pink.")] = "white",
    seed: Annotated[int, typer.Option(help="The same seed gives the same corpus.")] = 0,
    as_json: AsJson = False,
) -> int:
    """Speak texts by machine, reproducibly."""
    from auricle.corpus.synth import synthesise

    with progress_bar("utterances") as show:
        corpus = synthesise(
            None if texts is None else _lines(texts),
            output,
            backend=_one_of("backend", backend, ("flite", "espeak-ng")),
            language=language,
            voices=tuple(voice or ()),
            rates=tuple(rate or (1.0,)),
            snr_db=snr_db,
            noise=_one_of("noise", noise, ("white", "pink")),
            seed=seed,
            progress=lambda done, total: show(done, total, "speaking"),
        )
    return _made(corpus, output, as_json)


@corpus_app.command("import")
def import_a_corpus(
    spec: Spec,
    name: Annotated[str | None, typer.Option(help="Name to keep it under; otherwise the source's.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="New folder, instead of a name.")] = None,
    language: Language = None,
    as_json: AsJson = False,
) -> int:
    """Copy a corpus into Auricle's form: FLEURS or LibriSpeech from the hub, a NeMo manifest, a folder."""
    from auricle.corpus import corpora_folder, import_corpus

    destination = output or corpora_folder() / (name or Path(spec.replace(":", "-")).stem)
    with progress_bar("utterances") as show:
        corpus = import_corpus(
            spec,
            destination,
            **({} if language is None else {"language": language}),
            progress=lambda done, total: show(done, total, "copying"),
        )
    return _made(corpus, destination, as_json)


def _open(spec: str, language: str | None) -> Corpus:
    from auricle.corpus import open_corpus

    return open_corpus(spec) if language is None else open_corpus(spec, language)


def _facts(corpus: Corpus) -> dict[str, Any]:
    return {
        "name": corpus.name,
        "hash": corpus.hash,
        "source": corpus.source,
        "licence": corpus.licence,
        "number": len(corpus.utterances),
        "duration_s": round(corpus.duration_s, 3),
        "speakers": len({utterance.speaker for utterance in corpus.utterances}),
        "languages": corpus.languages,
        "word_times": all(utterance.words for utterance in corpus.utterances),
    }


def _row(utterance: Utterance) -> dict[str, Any]:
    return asdict(utterance) | {"audio": str(utterance.audio)}


def _made(corpus: Corpus, folder: Path, as_json: bool) -> int:
    if as_json:
        print_json(_facts(corpus) | {"path": str(folder)})
    else:
        say(f"{len(corpus.utterances)} utterances, {corpus.duration_s / 60:.1f} min, in {folder}")
    return 0


def _lines(path: Path) -> list[str]:
    from auricle.errors import UsageError

    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "cannot read the texts", f"{path}: {error}", "give a UTF-8 file with one text a line"
        ) from error


def _one_of(what: str, value: str, known: tuple[str, ...]) -> Any:
    from auricle.errors import UsageError

    if value not in known:
        raise UsageError(f"unknown {what}", value, f"choose one of {', '.join(known)}")
    return value
