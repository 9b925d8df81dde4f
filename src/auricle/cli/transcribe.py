"""`auricle transcribe`: files, URLs or standard input to text."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.console import AsJson, pcm_format, print_json, progress_bar, say
from auricle.errors import AudioError, AuricleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import PcmFormat
    from auricle.engines.longform import Outcome, Source
    from auricle.transcript import Transcript

STANDARD_INPUT = "-"
MAX_FETCHED_BYTES = 4_000_000_000
TIMED_FORMATS = {"json", "verbose_json", "srt", "vtt", "tsv"}


class Timestamps(StrEnum):
    """What is timed in the text."""

    NONE = "none"
    SEGMENT = "segment"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Output:
    """Where transcripts go: `folder` or the one `file`, in every format; neither means stdout."""

    formats: tuple[str, ...]
    timestamps: Timestamps
    folder: Path | None = None
    file: Path | None = None


def transcribe(
    inputs: Annotated[list[str], typer.Argument(metavar="FILE|URL|-...", help="Recordings; - is standard input.")],
    engine: Annotated[str | None, typer.Option(help="Engine; `auricle doctor` lists them.")] = None,
    model: Annotated[str | None, typer.Option(help="Model by name or path; `auricle models list`.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16 or int8; see `auricle models check`.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads the engine may use.")] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Hypotheses to follow; refused where it cannot be.")] = None,
    local_attention: Annotated[
        int | None,
        typer.Option(min=1, help="Frames to each side that a frame sees, for long pieces; refused where it cannot be."),
    ] = None,
    language: Annotated[str | None, typer.Option(help="Language of the speech, such as en.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text to guide the engine; refused where it cannot be.")] = None,
    keyword: Annotated[
        list[str] | None, typer.Option(help="Word or phrase to prefer; repeatable; refused where it cannot be.")
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", help="txt, json, verbose_json, srt, vtt, tsv or rttm; repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for one recording, or folder; otherwise stdout.")
    ] = None,
    timestamps: Annotated[
        Timestamps, typer.Option(help="Times shown in txt; words are timed in json.")
    ] = Timestamps.NONE,
    piece: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds of the longest piece: 30, or the engine's limit with --local-attention."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pieces of 30 s, or as much, recognised in one call.")] = 8,
    channel: Annotated[
        int | None, typer.Option(min=0, help="One channel, counted from 0, instead of their mean.")
    ] = None,
    pcm: Annotated[str | None, typer.Option(help="Raw input: ENCODING:RATE[:CHANNELS], such as s16le:16000.")] = None,
    vad: Annotated[bool, typer.Option("--vad/--no-vad", help="Leave out stretches without speech.")] = True,
    as_json: AsJson = False,
) -> int:
    """Recognise recordings of any format and length; those that fail are named, the others still done."""
    from auricle.engines.contract import TranscribeOptions
    from auricle.engines.loading import LoadRequest, load
    from auricle.engines.longform import PIECE_S, Longform
    from auricle.trace import Tracer

    target = _output(inputs, form or ["json" if as_json else "txt"], output, timestamps, as_json=as_json)
    raw = None if pcm is None else pcm_format(pcm)
    with ExitStack() as stack:
        show = stack.enter_context(progress_bar("s"))
        show(0, None, "loading the model")
        recognizer = load(LoadRequest(engine, model, device, precision, threads, beam, local_attention), Tracer())
        stack.callback(recognizer.unload)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="auricle-")))
        timed = timestamps is Timestamps.WORD or bool(TIMED_FORMATS.intersection(target.formats))
        timed = timed and (timestamps is Timestamps.WORD or "word_times" in recognizer.info.features)
        options = TranscribeOptions(language, word_times=timed, prompt=prompt, keywords=tuple(keyword or ()))
        total_s = _total_s(inputs, raw)
        piece_s = piece or (PIECE_S if local_attention is None else recognizer.info.max_audio_s or PIECE_S)
        longform = Longform(
            recognizer,
            options,
            batch_size=max(1, int(batch_size * min(1.0, PIECE_S / piece_s))),
            piece_s=piece_s,
            skip_silence=vad,
            progress=lambda done_s: show(done_s, total_s, "recognising"),
        )
        failed = 0
        for outcome in longform.run(_sources(inputs, recognizer.info.sample_rate, channel, raw, folder)):
            failed += not _deliver(outcome, target, len(inputs) > 1, as_json)
    if failed:
        say(f"{failed} of {len(inputs)} failed")
    return 1 if failed else 0


def _output(
    inputs: Sequence[str], formats: Sequence[str], output: Path | None, timestamps: Timestamps, *, as_json: bool
) -> Output:
    """Decide where transcripts go before any work is done; raises UsageError for what cannot be."""
    from auricle.writers import FORMATS

    for form in formats:
        if form not in FORMATS:
            raise UsageError("unknown transcript format", form, f"choose one of {', '.join(FORMATS)}")
    base = Output(tuple(dict.fromkeys(formats)), timestamps)
    if output is None:
        if len(base.formats) > 1:
            raise UsageError("several formats need a folder", ", ".join(base.formats), "name it with --output")
        if len(inputs) > 1 and base.formats != ("txt",) and not as_json:
            raise UsageError(
                "several recordings in this format need a folder", base.formats[0], "name it with --output"
            )
        return base
    if len(inputs) == 1 and len(base.formats) == 1 and output.suffix and not output.is_dir():
        return replace(base, file=output)
    if output.exists() and not output.is_dir():
        raise UsageError("not a folder", output, "name a folder to write several files to")
    stems = [_stem(name) for name in inputs]
    if repeated := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise UsageError("several recordings would be written to one file", ", ".join(repeated), "write them apart")
    return replace(base, folder=output)


def _sources(
    inputs: Sequence[str], rate: int, channel: int | None, pcm: PcmFormat | None, folder: Path
) -> Iterator[Source]:
    from auricle.audio import blocks
    from auricle.engines.longform import Source

    def opened(name: str) -> Iterator[NDArray[np.float32]]:
        return blocks(_local(name, folder), rate, channel=channel, pcm=pcm)

    for name in inputs:
        yield Source(name, partial(opened, name))


def _local(name: str, folder: Path) -> Path:
    """Return a local path of the recording; what comes by URL or standard input is put into `folder` first."""
    if name == STANDARD_INPUT:
        path = folder / "standard-input"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return path
    if name.startswith(("http://", "https://")):
        from auricle.models.transfer import fetch_url

        return fetch_url(name, folder / "fetched", max_bytes=MAX_FETCHED_BYTES)
    return Path(name)


def _total_s(inputs: Sequence[str], pcm: PcmFormat | None) -> float | None:
    """Sum the lengths that the files state; None when one of them is unknown beforehand."""
    from auricle.audio import probe

    total_s = 0.0
    for name in inputs:
        if pcm is not None or not Path(name).is_file():
            return None
        try:
            duration_s = probe(Path(name)).duration_s
        except AudioError:
            continue  # told when its turn comes
        if duration_s is None:
            return None
        total_s += duration_s
    return total_s


def _deliver(outcome: Outcome, target: Output, several: bool, as_json: bool) -> bool:
    """Write or print one transcript, or its error, and tell whether there was a transcript."""
    from auricle import writers

    if isinstance(outcome.result, AuricleError):
        print(f"error: {outcome.result}", file=sys.stderr)
        if as_json:
            print_json({"file": outcome.name, "error": str(outcome.result)})
        return False
    transcript = outcome.result
    for form in target.formats:
        if target.file is not None:
            writers.write(transcript, target.file, form)
        elif target.folder is not None:
            writers.write(transcript, target.folder / f"{_stem(outcome.name)}.{form}", form)
        elif not as_json:
            _print(outcome.name, transcript, form, target.timestamps, several)
    if as_json:
        print_json({"file": outcome.name, **asdict(transcript)})
    return True


def _print(name: str, transcript: Transcript, form: str, timestamps: Timestamps, several: bool) -> None:
    from auricle import writers

    if form != "txt":
        text = writers.render(transcript, form, _stem(name))
    elif timestamps is not Timestamps.NONE:
        text = writers.timed_text(transcript, by_word=timestamps is Timestamps.WORD)
    else:
        text = f"{transcript.text}\n"
    print(f"{name}: {text}" if several and form == "txt" else text, end="", flush=True)


def _stem(name: str) -> str:
    return "standard-input" if name == STANDARD_INPUT else Path(name.split("?", maxsplit=1)[0]).stem or "audio"
