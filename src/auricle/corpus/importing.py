"""Any corpus made into Auricle's own form: a manifest and a folder of audio, there whole or not at all."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from auricle.audio import probe, save
from auricle.corpus.checks import check
from auricle.corpus.manifest import read_manifest, write_manifest
from auricle.corpus.sources import read_source
from auricle.corpus.storage import new_folder
from auricle.corpus.types import MANIFEST_NAME, UNDETERMINED, Corpus, DefectiveCorpusError
from auricle.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.corpus.types import Progress, Utterance

_LONGEST_NAME = 80


def import_corpus(
    spec: str, destination: Path, language: str = UNDETERMINED, progress: Progress | None = None
) -> Corpus:
    """Copy a corpus, named as for `open_corpus`, into a new folder; `language` is for a source that states none.

    Whole files are copied byte for byte, which keeps the corpus hash; stretches of a longer file are cut out as 16-bit
    mono FLAC at the file's own rate. Raises DefectiveCorpusError with all problems, CorpusError when the folder is not
    empty; `progress` is told the utterances done and their number.
    """
    reading = read_source(spec, language)
    problems = [*reading.problems, *check(reading.corpus)] if reading.corpus.utterances else reading.problems
    if problems:
        raise DefectiveCorpusError(spec, problems)
    utterances = reading.corpus.utterances
    with new_folder(destination) as folder:
        (folder / "audio").mkdir()
        kept = []
        for number, utterance in enumerate(utterances):
            kept.append(_keep(utterance, folder / "audio" / _file_name(number, utterance.id)))
            if progress:
                progress(number + 1, len(utterances))
        write_manifest(replace(reading.corpus, utterances=tuple(kept)), folder / MANIFEST_NAME)
    return read_manifest(destination / MANIFEST_NAME).corpus


def _keep(utterance: Utterance, stem: Path) -> Utterance:
    if utterance.is_cut:
        target = stem.with_name(f"{stem.name}.flac")
        audio = utterance.load(probe(utterance.audio).rate)
        save(audio, target)
        return replace(utterance, audio=target, offset_s=0.0, is_cut=False, duration_s=audio.duration_s)
    target = stem.with_name(stem.name + utterance.audio.suffix.lower())
    try:
        shutil.copyfile(utterance.audio, target)
    except OSError as error:
        raise CorpusError("audio file cannot be copied", utterance.audio, error.strerror) from error
    return replace(utterance, audio=target)


def _file_name(number: int, name: str) -> str:
    safe = re.sub(r"[^\w.@-]+", "_", name)
    return f"{number:05d}-{safe[:_LONGEST_NAME]}"
