"""A loaded model: recordings to tokens and transcripts."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.emformer.config import read_config
from auricle.emformer.features import FEWEST_SAMPLES, Features
from auricle.emformer.files import read_statistics, read_tokenizer, read_weights
from auricle.emformer.network import filled, kernels, packed, stored
from auricle.emformer.search import DEFAULT_BEAM, LARGEST_BEAM, BeamSearch
from auricle.emformer.tokens import Tokenizer
from auricle.emformer.trail import Trail, follow
from auricle.emformer.whole import encode
from auricle.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.emformer.files import ModelFiles

_FRAMES_AT_ONCE = 8
"""The search takes so many encoder frames before what it will not look at again is dropped."""


class Emformer:
    """A model in evaluation mode; nothing that it is asked changes it, so that threads may share it.

    `beam` is how many hypotheses it follows; `parameters` counts the weights that were trained, `numbers` those held by
    type, `kernels` what runs the linear layers. Raises ModelError for files that are damaged or do not fit each other,
    UnsupportedError for a beam that there is not.
    """

    def __init__(self, files: ModelFiles, beam: int = DEFAULT_BEAM) -> None:
        weights = read_weights(files.weights)
        self.config = read_config(weights)
        most = min(LARGEST_BEAM, self.config.vocabulary)
        if not 1 <= beam <= most:
            raise UnsupportedError("there is no beam of so many hypotheses", beam, f"choose from 1 to {most}")
        self.beam = beam
        statistics = read_statistics(files.statistics)
        if len(statistics.mean) != self.config.mels:
            sizes = f"{len(statistics.mean)} and {self.config.mels} mel bands"
            raise ModelError("the global statistics and the weights differ in size", sizes, "get the model again")
        self.tokenizer = Tokenizer(read_tokenizer(files.tokenizer), self.config.vocabulary)
        network = filled(self.config, weights)
        self.parameters = sum(value.numel() for value in network.parameters())
        del weights
        self.network = packed(network)
        self.numbers = stored(self.network)
        self.kernels = kernels(self.network)
        self.features = Features(statistics)
        self.search = BeamSearch(self.network.predictor, self.network.joiner, self.config.vocabulary, beam)

    @torch.inference_mode()
    def hear(self, samples: NDArray[np.float32]) -> Tensor:
        """Return the features `(frames, mels)` of a recording `(samples,)`, its right context too; or none at all."""
        if len(samples) < FEWEST_SAMPLES:
            return torch.empty(0, self.config.mels)
        return self.features.whole(torch.from_numpy(samples))

    @torch.inference_mode()
    def encode(self, features: Tensor) -> Tensor:
        """Return the encoder frames `(frames, joint)` of the features of one recording."""
        return encode(self.network.transcriber, features)

    @torch.inference_mode()
    def decode(self, recordings: Sequence[Tensor], between: Callable[[], None] = lambda: None) -> list[Trail]:
        """Return the hypotheses of recordings, each of encoder frames `(frames, joint)`.

        `between` is called now and then, to end the work by an exception.
        """
        trails = [Trail(self.beam) for _ in recordings]
        beams = self.search.start().repeated(len(recordings))
        for start in range(0, max(map(len, recordings), default=0), _FRAMES_AT_ONCE):
            between()
            for count, which in _alike([len(one) - start for one in recordings]):
                rows = torch.tensor(which)
                frames = torch.stack([recordings[index][start : start + count] for index in which])
                after, grown = self.search.search(beams.of(rows), frames)
                beams.put(rows, after)
                follow([trails[index] for index in which], grown, count)
        return trails


def _alike(left: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Group recordings by how many frames the next search has, those of none left out."""
    counts = {index: min(count, _FRAMES_AT_ONCE) for index, count in enumerate(left) if count > 0}
    for count, group in groupby(sorted(counts, key=lambda index: counts[index]), key=lambda index: counts[index]):
        yield count, list(group)
