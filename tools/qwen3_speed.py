"""How fast tokens are decoded on a CPU: our loop against transformers' `generate`, beside what memory allows.

Runs the network of Qwen3-ASR-0.6B with random weights, which cost what trained ones do, on random prompts of one
length. Arms take turns within one run; a step's time is the median over all steps after the first of each turn.

    python tools/qwen3_speed.py --batch 1 --threads 1 --prompt 158 --steps 24 --rounds 3

The floor is the bytes that a step must read, weights and the cache's keys and values, over the fastest that this
machine was seen to read memory in the same run.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import resource
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, Qwen3ASRConfig, Qwen3ASRForConditionalGeneration
from transformers.generation import StoppingCriteria

from auricle.qwen3.config import make_config
from auricle.qwen3.decoder import Decoder
from auricle.qwen3.generate import Generator, Prompt
from auricle.qwen3.linear import Scratch
from auricle.qwen3.model import maker
from auricle.qwen3.stages import Meter
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.qwen3.config import DecoderConfig
    from auricle.qwen3.linear import Layout

    Arm = Callable[[], tuple[list[float], list[list[int]]]]

AUDIO: dict[str, Any] = {
    "encoder_layers": 18,
    "encoder_attention_heads": 14,
    "encoder_ffn_dim": 3584,
    "d_model": 896,
    "output_dim": 1024,
}
TEXT: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 65_536,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "tie_word_embeddings": True,
}
"""The configuration of Qwen3-ASR-0.6B, as its model card and config.json give it."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NO_TOKEN = -1


class Clock(StoppingCriteria):  # type: ignore[misc]  # transformers has no types here
    """Notes when each token of `generate` was there."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        """Stop never."""
        self.times.append(time.perf_counter())
        return torch.zeros(input_ids.shape[0], dtype=torch.bool)


def main() -> None:
    """Print a table of the arms, and its figures as JSON."""
    options = _options()
    torch.set_num_threads(options.threads)
    reads_gb_s = reading_speed()
    config = Qwen3ASRConfig(audio_config=AUDIO, text_config=TEXT)
    torch.manual_seed(0)
    network = Qwen3ASRForConditionalGeneration(config).eval().to(DTYPES[options.precision])
    decoder_config = make_config(config.to_dict()).decoder
    prompts = torch.randint(0, 150_000, (options.batch, options.prompt))
    arms: dict[str, Arm] = {"transformers": partial(theirs, network, prompts, options.steps)}
    for layout in options.layouts:
        decoder = make_decoder(decoder_config, network, layout)
        arms[f"auricle, {layout}"] = partial(ours, decoder, prompts, options.steps)
    network.model.audio_tower = None
    gc.collect()
    steps: dict[str, list[float]] = {name: [] for name in arms}
    tokens: dict[str, list[list[int]]] = {}
    for _ in range(options.rounds):
        for name, arm in arms.items():
            taken, tokens[name] = arm()
            steps[name] += taken
    told = report(options, decoder_config, steps, tokens, reads_gb_s)
    for row in told["arms"]:
        print(f"{row['arm']:20} {row['step_ms']:8.1f} ms/step  {row['times_transformers']:.2f}x  "
              f"{row['share_of_floor']:.2f} of the floor's speed, tokens equal: {row['tokens_equal']}")  # fmt: skip
    print(json.dumps(told))


def theirs(network: Any, prompts: torch.Tensor, steps: int) -> tuple[list[float], list[list[int]]]:
    """Return the seconds of each decoding step of `generate`, and the tokens."""
    clock = Clock()
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=steps + 1, eos_token_id=None, pad_token_id=0, use_cache=True
    )
    with torch.no_grad():
        out = network.generate(
            input_ids=prompts,
            attention_mask=torch.ones_like(prompts),
            generation_config=settings,
            stopping_criteria=[clock],
        )
    taken = [later - earlier for earlier, later in itertools.pairwise(clock.times)]
    return taken, out[:, prompts.shape[1] :].tolist()


def ours(decoder: Decoder, prompts: torch.Tensor, steps: int) -> tuple[list[float], list[list[int]]]:
    """Return the seconds of each decoding step of our loop, and the tokens."""
    meter = Meter(Tracer(), torch.device("cpu"))
    generator = Generator(decoder, (NO_TOKEN,))
    times: list[float] = []
    with torch.inference_mode():
        embedded = decoder.embed(prompts)
    said = generator([Prompt(each, steps + 1) for each in embedded], meter, lambda: times.append(time.perf_counter()))
    return [later - earlier for earlier, later in itertools.pairwise(times)], said


def make_decoder(config: DecoderConfig, network: Any, layout: Layout) -> Decoder:
    """Return our decoder with the weights of a network of transformers."""
    with torch.inference_mode():
        return Decoder(
            config, {name: value.detach() for name, value in network.state_dict().items()}, maker(layout, Scratch())
        )


def reading_speed(megabytes: int = 512, tries: int = 5) -> float:
    """Return how many GB a second the processor reads from memory, as a sum and as a matrix times a vector."""
    matrix = torch.ones(megabytes * 250, 1000)
    vector = torch.ones(1000)
    best = 0.0
    works: tuple[Callable[[], torch.Tensor], ...] = (lambda: torch.sum(matrix), lambda: torch.mv(matrix, vector))
    for work in works:
        for _ in range(tries):
            start = time.perf_counter()
            work()
            best = max(best, matrix.numel() * 4 / (time.perf_counter() - start) / 1e9)
    return best


def report(
    options: argparse.Namespace,
    config: DecoderConfig,
    steps: dict[str, list[float]],
    tokens: dict[str, list[list[int]]],
    reads_gb_s: float,
) -> dict[str, Any]:
    """Return the figures of all arms."""
    size = DTYPES[options.precision].itemsize
    attention = (2 * config.heads + 2 * config.kv_heads) * config.head
    weights = config.layers * config.width * (attention + 3 * config.inner) + config.vocabulary * config.width
    context = options.prompt + options.steps // 2
    read_bytes = size * (weights + options.batch * context * config.kv_values)
    floor_ms = read_bytes / reads_gb_s / 1e6
    medians = {name: 1e3 * statistics.median(taken) for name, taken in steps.items()}
    return {
        "batch": options.batch,
        "threads": options.threads,
        "precision": options.precision,
        "prompt": options.prompt,
        "steps": options.steps,
        "rounds": options.rounds,
        "reads_gb_s": reads_gb_s,
        "weight_bytes": size * weights,
        "read_bytes": read_bytes,
        "floor_ms": floor_ms,
        "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "arms": [
            {
                "arm": name,
                "step_ms": median,
                "fastest_ms": 1e3 * min(steps[name]),
                "slowest_ms": 1e3 * max(steps[name]),
                "times_transformers": medians["transformers"] / median,
                "share_of_floor": floor_ms / median,
                "tokens_equal": tokens[name] == tokens["transformers"],
            }
            for name, median in medians.items()
        ],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=sorted(DTYPES), default="fp32")
    parser.add_argument("--prompt", type=int, default=158, help="positions before the first token")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layouts", nargs="+", choices=("plain", "packed", "both"), default=["both"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
