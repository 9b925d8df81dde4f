"""sherpa-onnx over exports of an archive, all streams decoded in one call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import sherpa_onnx

from tools.cpu_speed_arm import FRAME_S, RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Live:
    """Streams of one recogniser, advanced by `decode_streams`."""

    def __init__(self, model: str, right: int, threads: int) -> None:
        # Weights beside a model are looked for from the working directory.
        os.chdir(model)
        self._recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(
            encoder="encoder.onnx",
            decoder="decoder.onnx",
            joiner="joiner.onnx",
            tokens="tokens.txt",
            num_threads=threads,
            feature_dim=int(Path("mels").read_text(encoding="utf-8")),
        )
        self._samples = round((right + 1) * FRAME_S * RATE_HZ)
        lines = Path("tokens.txt").read_text(encoding="utf-8").splitlines()
        # It shows a token's mark of a word's start as a space.
        pieces = (line.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").rsplit(" ", 1) for line in lines)
        self._index = {piece: int(index) for piece, index in pieces}

    def open(self, audio: Sequence[NDArray[np.float32]]) -> float:
        """Start the streams."""
        self._audio, self._heard = audio, 0
        self._streams = [self._recognizer.create_stream() for _ in audio]
        return 0.0

    def step(self) -> None:
        """Advance all streams by a chunk."""
        for stream, samples in zip(self._streams, self._audio, strict=True):
            stream.accept_waveform(RATE_HZ, samples[self._heard : self._heard + self._samples])
        self._heard += self._samples
        while ready := [stream for stream in self._streams if self._recognizer.is_ready(stream)]:
            self._recognizer.decode_streams(ready)
        for stream in self._streams:
            self._recognizer.get_result(stream)

    def tokens(self) -> list[list[int]]:
        """Return the labels so far."""
        return [[self._index[piece] for piece in self._recognizer.tokens(stream)] for stream in self._streams]
