"""A model of transformers in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.engines.torch_threads import THREADS
from auricle.engines.transformers_families import Loaded
from auricle.errors import EngineError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import TranscribeOptions
    from auricle.engines.library import Heard
    from auricle.engines.transformers_families import Family
    from auricle.trace import Tracer

LOCAL = {"local_files_only": True, "trust_remote_code": False}


class TransformersService:
    """One model, which holds torch's number of threads until it is closed."""

    def __init__(self, folder: Path, family: Family, dtype: str, device: str, tracer: Tracer) -> None:
        self._family = family
        self._tracer = tracer
        from safetensors import SafetensorError

        damaged = (OSError, ValueError, TypeError, RuntimeError, LookupError, AttributeError, ImportError)
        try:
            self._loaded = _load(folder, family, dtype, device)
        except (*damaged, SafetensorError) as error:
            raise ModelError("transformers cannot load this model", f"{folder}: {error}", "save it again") from error
        self.sample_rate = int(self._loaded.extractor.sampling_rate)
        known = getattr(self._loaded.model.generation_config, "lang_to_id", None) or {}
        self.languages = tuple(sorted(mark.strip("<|>") for mark in known))

    def weights(self) -> Iterator[tuple[str, int, int]]:
        """Yield the type of every parameter, its number of values and its bytes; those that are tied once."""
        for value in self._loaded.model.parameters():
            yield str(value.dtype).removeprefix("torch."), value.numel(), value.numel() * value.element_size()

    def recognise(self, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
        """Recognise one recording."""
        import torch

        THREADS.use()
        try:
            with self._tracer.span("recognise"), torch.inference_mode():
                return self._family.ask(self._loaded, samples, options)
        except (RuntimeError, ValueError, LookupError, TypeError) as error:
            raise EngineError("transformers failed", repr(error)) from error

    def close(self) -> None:
        """Let go of the model, and of torch's number of threads."""
        THREADS.give_back()


def _load(folder: Path, family: Family, dtype: str, device: str) -> Loaded:
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    name = transformers.AutoConfig.from_pretrained(folder, **LOCAL).architectures[0]
    kind: Any = getattr(transformers, name)
    model = kind.from_pretrained(folder, use_safetensors=True, dtype=getattr(torch, dtype), **LOCAL)
    model = model.to(device).eval()
    if family.has_processor:
        processor = transformers.AutoProcessor.from_pretrained(folder, **LOCAL)
        return Loaded(model, processor, processor.feature_extractor, processor.tokenizer)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, **LOCAL)
    return Loaded(model, None, extractor, transformers.AutoTokenizer.from_pretrained(folder, **LOCAL))
