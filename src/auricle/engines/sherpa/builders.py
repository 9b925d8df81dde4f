"""Builds sherpa-onnx recognisers from a plan, with greedy search, in the child process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auricle.engines.sherpa.plan import Plan


def build_offline(plan: Plan, language: str | None) -> Any:
    """Load an offline model; `language` is for SenseVoice and Whisper, None lets them tell it themselves."""
    from sherpa_onnx import OfflineRecognizer

    common = {"tokens": plan.tokens, "num_threads": plan.threads, "provider": plan.provider}
    features = common | {"feature_dim": plan.feature_dim}
    match plan.kind:
        case "nemo-transducer":
            return OfflineRecognizer.from_transducer(**plan.graphs, **features, model_type="nemo_transducer")
        case "zipformer-transducer":
            return OfflineRecognizer.from_transducer(**plan.graphs, **features, model_type="transducer")
        case "nemo-ctc":
            return OfflineRecognizer.from_nemo_ctc(**plan.graphs, **features)
        case "zipformer-ctc":
            return OfflineRecognizer.from_zipformer_ctc(**plan.graphs, **features)
        case "whisper":
            return OfflineRecognizer.from_whisper(
                **plan.graphs, **common, language=language or "", enable_token_timestamps=plan.has_word_times
            )
        case "sense-voice":
            return OfflineRecognizer.from_sense_voice(**plan.graphs, **common, language=language or "auto")
    raise AssertionError(plan.kind)


def build_online(plan: Plan) -> Any:
    """Load a streaming model; endpoints are for the caller to find."""
    from sherpa_onnx import OnlineRecognizer

    common = {
        "tokens": plan.tokens,
        "num_threads": plan.threads,
        "provider": plan.provider,
        "feature_dim": plan.feature_dim,
        "enable_endpoint_detection": False,
    }
    match plan.kind:
        case "nemo-streaming-transducer":
            return OnlineRecognizer.from_transducer(**plan.graphs, **common)
        case "zipformer2-streaming-transducer":
            return OnlineRecognizer.from_transducer(
                **plan.graphs, **common, model_type="zipformer2", temperature_scale=1.0
            )
        case "nemo-streaming-ctc":
            return OnlineRecognizer.from_nemo_ctc(**plan.graphs, **common)
        case "zipformer2-streaming-ctc":
            return OnlineRecognizer.from_zipformer2_ctc(**plan.graphs, **common)
    raise AssertionError(plan.kind)
