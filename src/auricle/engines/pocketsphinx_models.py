"""Finds the parts of a PocketSphinx model in a folder: acoustic model, dictionary, language model or grammar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.engines.contract import WeightGroup
from auricle.errors import ModelError, NotInstalledError

if TYPE_CHECKING:
    from collections.abc import Iterable

ACOUSTIC_FILES = ("mdef", "means", "variances", "transition_matrices")
DICTIONARY_SUFFIXES = (".dict", ".dic")
GRAMMAR_OPTIONS = {".lm": "lm", ".bin": "lm", ".dmp": "lm", ".fsg": "fsg", ".gram": "jsgf", ".jsgf": "jsgf"}
PHONE_MODEL_MARK = "-phone."
FLOAT32_BYTES = 4
EMBEDDED_LIVE_MEAN = "51.42,-1.77,-0.92,8.37,-1.85,0.45,-8.86,-2.53,-4.84,0.27,-1.02,0.95,1.63"
"""Cepstral mean of 22 read English utterances under the embedded model; see docs/log.md, 2026-11-20."""


@dataclass(frozen=True, slots=True)
class SphinxModel:
    """Paths of one model; `grammar_option` is the decoder's name for the kind of `grammar`."""

    acoustic: str
    dictionary: str
    grammar_option: str
    grammar: str
    live_mean: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the chosen files."""
        return tuple(Path(part).name for part in (self.acoustic, self.dictionary, self.grammar))

    @property
    def weights(self) -> tuple[WeightGroup, ...]:
        """The acoustic model's Gaussians (float32) and mixture weights (8 bit), from the sizes of their files."""
        floats = sum(_size(self.acoustic, name) for name in ("means", "variances", "transition_matrices"))
        mixture = _size(self.acoustic, "sendump")
        groups = [WeightGroup("float32", floats // FLOAT32_BYTES, floats), WeightGroup("uint8", mixture, mixture)]
        return tuple(group for group in groups if group.bytes)


def embedded_model() -> SphinxModel:
    """Return the English model that the pocketsphinx package carries; raises NotInstalledError without it."""
    try:
        from pocketsphinx import get_model_path
    except ImportError as error:
        raise NotInstalledError("pocketsphinx is not installed", None, "pip install pocketsphinx") from error
    folder = Path(get_model_path("en-us"))
    return SphinxModel(
        acoustic=str(folder / "en-us"),
        dictionary=str(folder / "cmudict-en-us.dict"),
        grammar_option="lm",
        grammar=str(folder / "en-us.lm.bin"),
        live_mean=EMBEDDED_LIVE_MEAN,
    )


def find_model(folder: Path) -> SphinxModel:
    """Find a model in `folder` and its sub-folders; raises ModelError when a part is missing or there are several."""
    if not folder.is_dir():
        raise ModelError("a PocketSphinx model is a folder", folder, "give the folder with mdef, a .dict and a .lm")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    folders = [path.parent for path in files if path.name == "mdef"]
    acoustic = _one("acoustic model (a folder with mdef)", folder, folders)
    missing = [name for name in ACOUSTIC_FILES if not (acoustic / name).is_file()]
    if missing:
        raise ModelError(f"the acoustic model lacks {', '.join(missing)}", acoustic, "copy the model again")
    dictionary = _one("dictionary (.dict, .dic)", folder, _with_suffix(files, DICTIONARY_SUFFIXES))
    grammar = _one("language model or grammar (.lm, .fsg, .gram)", folder, _with_suffix(files, GRAMMAR_OPTIONS))
    return SphinxModel(str(acoustic), str(dictionary), GRAMMAR_OPTIONS[grammar.suffix], str(grammar))


def _with_suffix(files: list[Path], suffixes: Iterable[str]) -> list[Path]:
    return [path for path in files if path.suffix in suffixes and PHONE_MODEL_MARK not in path.name]


def _one(what: str, folder: Path, found: list[Path]) -> Path:
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelError(f"no {what} in the model folder", folder, "add it, or give another folder")
    names = ", ".join(str(path.relative_to(folder)) for path in found)
    raise ModelError(f"several {what} in the model folder", names, "leave one of them there")


def _size(folder: str, name: str) -> int:
    path = Path(folder, name)
    return path.stat().st_size if path.is_file() else 0
