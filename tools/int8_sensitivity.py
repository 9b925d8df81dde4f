"""Which linear layers of a model cost most in int8: each alone in int8, all others in single precision.

    python -m tools.int8_sensitivity [MODEL.nemo] [--corpus demo-digits] [--limit 24] [--whole-layers]

For every layer: how far encoder frames move, as a share of their size, and how many recordings' tokens change. The
layers that cost most are what `auricle export --precision int8 --keep LAYER` keeps in single precision.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auricle.corpus import open_corpus
from auricle.fastconformer.export.writing import Plan, write
from auricle.fastconformer.loading import load, read
from auricle.fastconformer.ort.session import Settings
from auricle.fastconformer.ort.whole import OrtFastConformer
from auricle.models.store import shipped_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.model import FastConformer

PARTS = (
    "feed_forward1.linear1", "feed_forward1.linear2.half", "self_attn.linear_qkv", "self_attn.linear_out",
    "conv.pointwise_conv1", "conv.pointwise_conv2", "feed_forward2.linear1", "feed_forward2.linear2.half",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """What int8 in some layers costs: the change of encoder frames, as a share, and recordings whose tokens differ."""

    layers: str
    share: float
    differ: int
    bytes: int


def measure(
    archive: Archive, path: Path, reference: FastConformer, audio: Sequence[NDArray[np.float32]], layers: str
) -> Cost:
    """Return the cost of int8 in the layers whose names are or start with `layers`, empty for all."""
    count = archive.config.encoder.layers
    names = [f"layers.{number}.{part}" for number in range(count) for part in PARTS]
    kept = [name for name in names if layers and name != layers and not name.startswith(f"{layers}.")]
    with tempfile.TemporaryDirectory() as folder:
        manifest = write(archive, path, Path(folder), Plan(precision="int8", kept=kept))
        candidate = OrtFastConformer(Path(folder), Settings())
        wanted, lengths = reference.encode(audio)
        found, _ = candidate.encode(audio)
        real = torch.arange(wanted.shape[1])[None] < lengths[:, None]
        share = float((wanted - found)[real].norm() / wanted[real].norm())
        said = [
            [[token.index for token in one] for one in model.decode(frames, lengths)]
            for model, frames in ((reference, wanted), (candidate, found))
        ]
    differ = sum(a != b for a, b in zip(*said, strict=True))
    return Cost(layers or "all", share, differ, sum(one.bytes for one in manifest.weights))


def main() -> None:
    """Print a line for all layers, and one for each, the most expensive first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=shipped_path("auricle-digits-en.nemo"))
    parser.add_argument("--corpus", default="demo-digits")
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--whole-layers", action="store_true", help="one line for each layer instead of each part")
    options = parser.parse_args()
    torch.set_num_threads(1)
    archive, reference = read(options.model), load(options.model)
    audio = [
        utterance.load().samples for utterance in open_corpus(options.corpus).select(limit=options.limit).utterances
    ]
    layers = [f"layers.{number}" for number in range(archive.config.encoder.layers)]
    parts = layers if options.whole_layers else [f"{layer}.{part}" for layer in layers for part in PARTS]
    costs = [measure(archive, options.model, reference, audio, one) for one in ("", *parts)]
    for cost in [costs[0], *sorted(costs[1:], key=lambda cost: -cost.share)]:
        print(
            f"| {cost.layers} | {100 * cost.share:.3f} % | {cost.differ} of {len(audio)} | {cost.bytes / 1e6:.2f} MB |"
        )


if __name__ == "__main__":
    main()
