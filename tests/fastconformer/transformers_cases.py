"""Which results of transformers are recorded in `transformers.npz`, of which checkpoints, and how to read them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from tests.fastconformer.checkpoints import VOCABULARY, build, config, recording, weights, write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auricle.fastconformer.model import Head

GOLDEN = Path(__file__).with_name("transformers.npz")
ROOT = Path(__file__).parents[2]
SAMPLES = (2_400, 16_000, 40_001, 112_345)
FITTED = {
    "digits": ("src/auricle/checkpoints/auricle-digits-en.nemo", "src/auricle/corpus/demo/audio/demo-digits-0{}.opus"),
    "memorised": ("tests/data/memorised/auricle-memorised.nemo", "tests/data/memorised/memorised-hi-{}.opus"),
}
"""Models and audio of the repository."""
OUTSIDE = {"hybrid_tdt_ctc", "stream_rnnt_overfit_jfk"}
"""Models of the evaluation data."""

# What transformers can represent of the seeded models: a joint network as wide as the prediction network.
SEEDED: dict[str, dict[str, Any]] = {
    "ctc": {},
    "rnnt": {"joint/jointnet/joint_hidden": 20},
    "tdt": {"joint/jointnet/joint_hidden": 20},
    "rnnt_stream": {
        "joint/jointnet/joint_hidden": 20,
        "encoder/att_context_size": [[56, 13], [56, 6], [56, 1], [56, 0]],
    },
}
PROMPTED = "multilingual"
"""A seeded model that transformers can represent as it is."""
LANGUAGES = ("en-US", "de", "auto")
_BLANK_SCORES = {"rnnt": 10, "rnnt_stream": 10, "tdt": 3}


@dataclass(frozen=True, slots=True)
class Case:
    """One model as one class of transformers, at one of its lookaheads."""

    model: str
    head: Head = "transducer"
    lookahead: int = 0
    language: str | None = None

    def __str__(self) -> str:
        return f"{self.model}-{self.head}-{self.language or self.lookahead}"


CASES = (
    Case("ctc", "ctc"),
    Case("rnnt"),
    Case("tdt"),
    *(Case("rnnt_stream", lookahead=lookahead) for lookahead in range(4)),
    *(Case(model, lookahead=lookahead) for model in FITTED for lookahead in range(4)),
    *(Case(PROMPTED, lookahead=1, language=language) for language in LANGUAGES),
    # Its random TDT half gives labels without end, which transformers does not bound.
    Case("hybrid_tdt_ctc", "ctc"),
    *(Case("stream_rnnt_overfit_jfk", lookahead=lookahead) for lookahead in range(4)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What transformers made of one recording: encoder frames of a seeded model as `golden.sampled` keeps them."""

    encoded: NDArray[np.float32]
    length: int
    tokens: list[int]
    frames: list[int]
    text: str


def archive_of(model: str, folder: Path, data: Path | None) -> Path:
    """Return the archive of a case, writing it into `folder` if it is a seeded one."""
    if model in FITTED:
        return ROOT / FITTED[model][0]
    if model == PROMPTED:
        return build(model, folder)
    if model not in SEEDED:
        assert data is not None
        return data / "nemo" / f"{model}.nemo"
    values = config(model)
    for path, value in SEEDED[model].items():
        section = values
        *steps, last = path.split("/")
        for step in steps:
            section = section[step]
        section[last] = value
    tensors = weights(values, seed=crc32(model.encode()))
    for key in tensors:
        if key.startswith("joint.joint_net") and key.endswith("bias"):
            tensors[key][VOCABULARY] = _BLANK_SCORES[model]
    return write(folder / f"{model}.nemo", values, tensors)


def audio_of(model: str, data: Path | None) -> list[NDArray[np.float32]]:
    """Return the recordings of a case."""
    import auricle.audio

    if model in FITTED:
        paths = [ROOT / FITTED[model][1].format(number) for number in range(1, 5)]
        return [auricle.audio.load(path).samples for path in paths]
    if model in {*SEEDED, PROMPTED}:
        return [recording(samples, seed) for seed, samples in enumerate(SAMPLES)]
    assert data is not None
    return [auricle.audio.load(data / "real" / "audio" / "jfk.flac").samples]


def fingerprint(archive: Path) -> str:
    """Return what tells an archive from one that was trained anew."""
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def recorded_of(case: Case) -> str:
    """Return the fingerprint of the archive that was recorded."""
    with np.load(GOLDEN) as file:
        return str(file[f"{case}/archive"])


def expected(case: Case) -> list[Expected]:
    """Return what transformers made of each recording of a case."""
    with np.load(GOLDEN) as file:
        found = {key: file[f"{case}/{key}"] for key in (*_KEYS, "encoded", "tokens", "frames")}
    encoded = np.split(found["encoded"], np.cumsum(found["kept"])[:-1])
    tokens, frames = (np.split(found[key], np.cumsum(found["counts"])[:-1]) for key in ("tokens", "frames"))
    return [
        Expected(encoded[i], int(found["lengths"][i]), tokens[i].tolist(), frames[i].tolist(), str(found["texts"][i]))
        for i in range(len(encoded))
    ]


_KEYS = ("kept", "lengths", "counts", "texts")
