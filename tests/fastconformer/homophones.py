"""The digits checkpoint with a word planted that it never says: it sounds as another, whose score is always higher."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auricle.corpus.manifest import read_manifest
from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.model import FastConformer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from auricle.corpus.types import Utterance
    from auricle.fastconformer.archive import Archive

SOURCES = Path(__file__).parents[2] / "src" / "auricle"
DIGITS = SOURCES / "checkpoints" / "auricle-digits-en.nemo"
DEMO = SOURCES / "corpus" / "demo" / "manifest.jsonl"
COMMON, RARE = "six", "zero"
BEHIND = 0.9


@cache
def digits() -> FastConformer:
    """Return the checkpoint as it is."""
    return FastConformer(read_archive(DIGITS))


@cache
def homophone() -> FastConformer:
    """Return the checkpoint in which RARE is as COMMON is, but that its score is less by BEHIND."""
    return FastConformer(planted())


def planted() -> Archive:
    """Return what `homophone` is made of."""
    archive = read_archive(DIGITS)
    (common,), (rare,) = (digits().tokenizer.spell(word) for word in (COMMON, RARE))
    weights = {key: value.clone() for key, value in archive.weights.items()}
    for key in ("joint.joint_net.2.weight", "joint.joint_net.2.bias", "decoder.prediction.embed.weight"):
        weights[key][rare] = weights[key][common]
    weights["joint.joint_net.2.bias"][rare] -= BEHIND
    return replace(archive, weights=weights)


@cache
def strings() -> dict[str, Utterance]:
    """Return the strings of digits that have COMMON in them and not RARE."""
    known = (one for one in read_manifest(DEMO).corpus.utterances if one.id.startswith("demo-digits"))
    return {one.text: one for one in known if COMMON in one.text.split() and RARE not in one.text.split()}


def texts(count: int = 6) -> list[str]:
    """Return strings in which COMMON is not the first word."""
    return [text for text in strings() if COMMON in text.split()[1:]][:count]


@cache
def spoken(text: str) -> NDArray[np.float32]:
    """Return the audio of a string."""
    return strings()[text].load().samples


def phrase(text: str) -> str:
    """Return the key phrase that turns the first COMMON of a text into RARE: the word before it, and RARE."""
    words = text.split()
    return f"{words[words.index(COMMON) - 1]} {RARE}"


def turned(text: str) -> str:
    """Return a text as it is with its phrase."""
    return text.replace(phrase(text).replace(RARE, COMMON), phrase(text))


def write(folder: Path) -> Path:
    """Write the archive of `homophone` and return its path."""
    saved, path = io.BytesIO(), folder / "homophone.nemo"
    torch.save(dict(planted().weights), saved)
    with tarfile.open(DIGITS) as source, tarfile.open(path, "w") as target:
        for member in source.getmembers():
            content = source.extractfile(member)
            data = b"" if content is None else content.read()
            if member.name.endswith("model_weights.ckpt"):
                data = saved.getvalue()
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
    return path
