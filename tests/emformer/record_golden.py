"""Record what torchaudio 2.11.0 makes of the small checkpoints: `golden.npz` beside this file.

Run it in an environment of its own that has `torchaudio==2.11.0`, `sentencepiece` and this repository on the path:
`PYTHONPATH=src:. python -m tests.emformer.record_golden`. The pipeline's own classes do it all; they are only given
other files. torchaudio's extension, which nothing here needs and which wants CUDA, is replaced by an empty module.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import tempfile
import types
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.emformer.checkpoints import MODELS, SIZES, build
from tests.emformer.golden import BEAMS, CASES, FEATURES, GOLDEN, GRID, LIVE_GRID, SAMPLED, Case
from tests.emformer.speech import heard

SEGMENT_SAMPLES, WINDOW_SAMPLES = 2_560, 3_200


def without_extension() -> None:
    """Let torchaudio be imported without its extension."""
    found = importlib.util.find_spec("torchaudio")
    assert found is not None
    assert found.submodule_search_locations
    stub: Any = types.ModuleType("torchaudio._extension")
    stub.__path__ = [f"{found.submodule_search_locations[0]}/_extension"]
    stub.__spec__ = importlib.machinery.ModuleSpec("torchaudio._extension", None, is_package=True)
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = stub._IS_ALIGN_AVAILABLE = False
    stub.fail_if_no_align = lambda function: function
    stub._check_cuda_version = lambda: None
    sys.modules["torchaudio._extension"] = stub


def base(kinds: int) -> dict[str, Any]:
    """Return the options of `emformer_rnnt_base` but for the sizes."""
    return {
        "num_symbols": kinds,
        "segment_length": 16,
        "right_context_length": 4,
        "time_reduction_stride": 4,
        "transformer_num_heads": 8,
        "transformer_dropout": 0.1,
        "transformer_activation": "gelu",
        "transformer_left_context_length": 30,
        "transformer_max_memory_size": 0,
        "transformer_weight_init_scale_strategy": "depthwise",
        "transformer_tanh_on_mem": True,
        "lstm_layer_norm": True,
        "lstm_layer_norm_epsilon": 1e-3,
        "lstm_dropout": 0.3,
    }


def pipeline_over(folder: Path) -> Any:
    """Return torchaudio's pipeline over the files of a folder."""
    pipeline: Any = import_module("torchaudio.pipelines.rnnt_pipeline")
    pipeline.torchaudio.utils._download_asset = lambda name: str(folder / Path(name).name)
    return pipeline.EMFORMER_RNNT_BASE_LIBRISPEECH


def bundle(folder: Path) -> Any:
    """Return it over a small model."""
    shipped = pipeline_over(folder)
    models: Any = import_module("torchaudio.models.rnnt")
    state = torch.load(folder / "emformer_rnnt_base_librispeech.pt", weights_only=True)
    kinds = len(state["joiner.linear.bias"])
    shipped._rnnt_factory_func = partial(models.emformer_rnnt_model, **base(kinds), **SIZES)
    shipped._blank = kinds - 1
    return shipped


def record(case: Case, parts: Any) -> dict[str, Any]:
    """Return torchaudio's hypotheses for the recordings of a case."""
    said, scores, texts = [], [], []
    decoder, tokens = parts.get_decoder(), parts.get_token_processor()
    for seed, samples in enumerate(case.samples):
        found = (_live if case.live else _whole)(
            torch.from_numpy(heard(case.model, samples, seed)), parts, decoder, case.beam
        )
        assert len(found) == case.beam
        said += [one[0][1:] for one in found]
        scores += [one[3] for one in found]
        texts.append(tokens(found[0][0]))
    return {
        "tokens": np.concatenate([np.asarray(one, np.int16) for one in said]),
        "counts": np.array([len(one) for one in said]),
        "scores": np.array(scores, np.float32),
        "texts": np.array(texts),
    }


def _whole(audio: torch.Tensor, parts: Any, decoder: Any, beam: int) -> Any:
    with torch.inference_mode():
        return decoder(*parts.get_feature_extractor()(audio), beam)


def _live(audio: torch.Tensor, parts: Any, decoder: Any, beam: int) -> Any:
    extractor, state, found = parts.get_streaming_feature_extractor(), None, None
    with torch.inference_mode():
        for segment in _segments(audio):
            found, state = decoder.infer(*extractor(segment), beam, state=state, hypothesis=found)
    return found


def _segments(audio: torch.Tensor) -> list[torch.Tensor]:
    padded = torch.nn.functional.pad(audio, (0, WINDOW_SAMPLES))
    return [padded[start : start + WINDOW_SAMPLES] for start in range(0, len(audio), SEGMENT_SAMPLES)]


def encoded(model: str, live: bool, parts: Any) -> dict[str, Any]:
    """Return torchaudio's features and encoder frames."""
    network = parts.get_decoder().model
    features, frames = [], []
    with torch.inference_mode():
        for seed, samples in enumerate(LIVE_GRID if live else GRID):
            audio = torch.from_numpy(heard(model, samples, seed))
            if live:
                state, mine = None, []
                for segment in _segments(audio):
                    heard_now, length = parts.get_streaming_feature_extractor()(segment)
                    out, _, state = network.transcribe_streaming(heard_now[None], length, state)
                    mine.append((heard_now[:20], out[0]))
                features.append(torch.cat([one for one, _ in mine]))
                frames.append(torch.cat([one for _, one in mine]))
            else:
                heard_now, length = parts.get_feature_extractor()(audio)
                features.append(heard_now)
                frames.append(network.transcribe(heard_now[None], length)[0][0])
    return {
        "features": np.concatenate([one[:FEATURES].numpy() for one in features]),
        "feature_counts": np.array([len(one[:FEATURES]) for one in features]),
        "encoded": np.concatenate([one[::SAMPLED].numpy() for one in frames]),
        "encoded_counts": np.array([len(one[::SAMPLED]) for one in frames]),
        "lengths": np.array([len(one) for one in frames]),
    }


def main() -> None:
    """Record every case, or those of the models named, keeping what there is of the others."""
    without_extension()
    torch.set_num_threads(1)
    chosen = [name for name in MODELS if name in sys.argv[1:] or len(sys.argv) == 1]
    results: dict[str, Any] = {}
    if len(chosen) < len(MODELS):
        with np.load(GOLDEN) as file:
            results |= file
    with tempfile.TemporaryDirectory() as folder:
        for model in chosen:
            parts = bundle(build(model, Path(folder)))
            for live in (False, True):
                made = encoded(model, live, parts)
                results |= {f"{model}-{'live' if live else 'whole'}/{key}": value for key, value in made.items()}
                for beam in BEAMS:
                    case = Case(model, beam, live)
                    assert case in CASES
                    made = record(case, parts)
                    results |= {f"{case}/{key}": value for key, value in made.items()}
                    print(case, made["counts"][:: case.beam], made["texts"][-1][:60], flush=True)  # noqa: T201  # a script
    np.savez_compressed(GOLDEN, **results)


if __name__ == "__main__":
    main()
