"""Public corpora from the Hugging Face hub, kept on this machine after the first use: FLEURS and LibriSpeech."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from auricle.corpus.folders import TRANSCRIPT_SUFFIX, read_librispeech, read_text
from auricle.corpus.manifest import make_reading, read_manifest, write_manifest
from auricle.corpus.storage import new_folder
from auricle.corpus.types import MANIFEST_NAME, DefectiveCorpusError, Problem, Reading, Utterance
from auricle.errors import DownloadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

FLEURS_REPOSITORY = "google/fleurs"
FLEURS_LICENCE = "CC BY 4.0"
FLEURS_SPLITS = ("test", "dev", "train")
FLEURS_RATE_HZ = 16_000
LIBRISPEECH_REPOSITORY = "k2-fsa/LibriSpeech"
LIBRISPEECH_PARTS = (
    *("test-clean", "test-other", "dev-clean", "dev-other"),
    *("train-clean-100", "train-clean-360", "train-other-500"),
)
_REMEDY = (
    "check the network, unset HF_HUB_OFFLINE if it is set, or name a mirror in HF_ENDPOINT; "
    "without a network, copy the corpus here and use `auricle corpus import FOLDER`"
)


def read_fleurs(spec: str, corpora: Path) -> Reading:
    """Read `LANGUAGE[:SPLIT]`, such as `hi_in:test`, from `corpora`, downloading it first where it is not there.

    Raises UsageError for another split, DownloadError when it cannot be had.
    """
    code, _, split = spec.partition(":")
    split = split or FLEURS_SPLITS[0]
    if not code.replace("_", "").isalnum() or split not in FLEURS_SPLITS:
        raise UsageError(
            "no such FLEURS corpus", spec, f"give LANGUAGE:SPLIT, the split one of {', '.join(FLEURS_SPLITS)}"
        )
    kept = corpora / f"fleurs-{code}-{split}"
    if not (kept / MANIFEST_NAME).is_file():
        table = _download(FLEURS_REPOSITORY, f"data/{code}/{split}.tsv")
        archive = _download(FLEURS_REPOSITORY, f"data/{code}/audio/{split}.tar.gz")
        with new_folder(kept) as folder:
            _unpack(archive, folder / "audio", (".wav",))
            found = list(_fleurs_rows(table, folder / "audio", code.partition("_")[0]))
            _keep(make_reading(folder, found, FLEURS_LICENCE), folder, f"fleurs:{code}:{split}")
    return read_manifest(kept / MANIFEST_NAME)


def read_librispeech_part(part: str, corpora: Path) -> Reading:
    """Read a part such as `test-clean` from `corpora`, downloading it first where it is not there.

    Raises UsageError for an unknown part, DownloadError when it cannot be had.
    """
    if part not in LIBRISPEECH_PARTS:
        raise UsageError("no such part of LibriSpeech", part, f"one of {', '.join(LIBRISPEECH_PARTS)}")
    kept = corpora / f"librispeech-{part}"
    if not (kept / MANIFEST_NAME).is_file():
        archive = _download(LIBRISPEECH_REPOSITORY, f"{part}.tar.gz")
        with new_folder(kept) as folder:
            _unpack(archive, folder / "audio", (".flac", TRANSCRIPT_SUFFIX))
            _keep(read_librispeech(folder / "audio"), folder, f"librispeech:{part}")
    return read_manifest(kept / MANIFEST_NAME)


def _download(repository: str, name: str) -> Path:
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, repo_type="dataset"))
    except errors.RemoteEntryNotFoundError as error:
        remedy = f"see what https://huggingface.co/datasets/{repository} holds"
        raise DownloadError(f"{repository} has no such file", name, remedy) from error
    except (OSError, errors.HTTPError) as error:
        cause = f"{name}: {error.__cause__ or error}".partition("\n")[0]
        raise DownloadError(f"cannot download from {repository}", cause, _REMEDY) from error


def _unpack(archive: Path, folder: Path, suffixes: tuple[str, ...]) -> None:
    """Unpack the wanted files flat into a folder, whatever paths the archive gives them."""
    folder.mkdir()
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                content = members.extractfile(member) if member.name.endswith(suffixes) else None
                if content is not None:
                    with (folder / PurePosixPath(member.name).name).open("wb") as file:
                        shutil.copyfileobj(content, file)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise DownloadError(
            "archive is damaged", f"{archive.resolve()}: {error}", "delete that file and try again"
        ) from error


def _fleurs_rows(table: Path, audio: Path, language: str) -> Iterator[Utterance | Problem]:
    """Read the columns id, file, raw transcription, transcription, characters, samples, gender; no speaker is named."""
    text = read_text(table, table.name)
    if isinstance(text, Problem):
        yield text
        return
    for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
        where = f"{table.name}:{number}"
        match line.split("\t"):
            case [_, name, words, _, _, samples, *_] if samples.isdigit() and (audio / Path(name).name).is_file():
                path = audio / Path(name).name
                yield Utterance(path.stem, path, words, language, None, int(samples) / FLEURS_RATE_HZ)
            case [_, name, _, _, _, samples, *_] if samples.isdigit():
                yield Problem("missing file", where, f"{name} is not in the archive")
            case columns:
                yield Problem("bad line", where, f"its {len(columns)} columns are not those of FLEURS")


def _keep(reading: Reading, folder: Path, spec: str) -> None:
    if reading.problems:
        raise DefectiveCorpusError(spec, reading.problems)
    write_manifest(reading.corpus, folder / MANIFEST_NAME)
