"""A network of the runtime as something to train: its first weights, dropout, and the losses of a batch.

The runtime's own modules compute everything but the losses, so that what is trained is what will run. While training, a
CTC head listens to the encoder too; it is not saved.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from auricle.fastconformer.attention import RelativeAttention
from auricle.fastconformer.ctc import CtcHead
from auricle.fastconformer.encoder import Convolution, FeedForward
from auricle.fastconformer.network import Network
from auricle.fastconformer.transducer import Predictor
from tools.training.loss import transducer_loss
from tools.training.mels import bins, mel_filters

if TYPE_CHECKING:
    from auricle.fastconformer.config import AttentionContext, ModelConfig

# Of the log-mels of the digit strings, all bands together.
MEL_MEAN, MEL_DEVIATION = -11.0, 4.0
_CTC_SHARE = 0.3
_FIRST_WEIGHT, _FIRST_BIAS = "pre_encode.conv.0.weight", "pre_encode.conv.0.bias"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Features `(batch, frames, mels)` and labels `(batch, most labels)`, with how many of each are real."""

    features: Tensor
    frames: Tensor
    labels: Tensor
    counts: Tensor


class Learner(nn.Module):
    """The network of a transducer configuration with a CTC head beside it; its first weights are torch's of now.

    The first convolution is learned in the coordinates of mels less `MEL_MEAN` over `MEL_DEVIATION`, without which
    nothing is learned, and acts and is saved in those of plain mels: the same function, even at the padded borders.

    `dropout` is of each part of a layer. A share `misled` of the recordings of a batch is learned with a false past:
    what other recordings say is given to the prediction network, so that few texts are not learned by heart without
    being heard.
    """

    bins: Tensor

    def __init__(self, config: ModelConfig, dropout: float, misled: float = 0.0) -> None:
        super().__init__()
        self._misled = misled
        self.mels = config.features.mels
        spectrum = bins(config.features.sample_rate, config.features.n_fft).float()
        self.register_buffer("bins", spectrum, persistent=False)
        self.network = Network(replace(config, family="hybrid"))
        with torch.no_grad():
            self._start(config)
        for module in self.network.encoder.modules():
            if isinstance(module, FeedForward | Convolution | RelativeAttention):
                module.register_forward_hook(functools.partial(_dropped, dropout))

    def _start(self, config: ModelConfig) -> None:
        """Set what torch leaves unset, and keep the variance of the sound up to the first layer (He et al., 2015)."""
        features = config.features
        featurizer = self.network.preprocessor.featurizer
        featurizer.window.copy_(torch.hann_window(features.window_samples, periodic=False))
        filters = mel_filters(features.sample_rate, features.n_fft, features.mels)
        featurizer.fb.copy_(torch.from_numpy(filters)[None])
        for module in self.network.modules():
            if isinstance(module, RelativeAttention):
                module.pos_bias_u.zero_()
                module.pos_bias_v.zero_()
        for module in self.network.encoder.pre_encode.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                is_rectified = isinstance(module, nn.Conv2d) and module.groups == 1
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if is_rectified else "linear")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # NeMo starts a transcript with zeros in place of a label.
        self._predictor.prediction.embed.weight[config.vocabulary] = 0.0

    @property
    def _predictor(self) -> Predictor:
        assert isinstance(self.network.decoder, Predictor)  # noqa: S101  # of the types: the configuration has one
        return self.network.decoder

    @torch.no_grad()
    def features(self, audio: Tensor, lengths: Tensor, filters: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return features `(batch, frames, mels)` and their lengths, of audio `(batch, samples)`.

        Each recording may have mel filters of its own, `(batch, mels, bins)`, in place of those of the archive.
        """
        own = {} if filters is None else {"featurizer.fb": filters}
        features, frames = functional_call(self.network.preprocessor, own, (audio, lengths))
        return features, frames

    def encode(self, features: Tensor, lengths: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return encoder frames `(batch, frames, width)` and their lengths."""
        first = dict(zip((_FIRST_WEIGHT, _FIRST_BIAS), self._first(), strict=True))
        # No other way of computing attention has a gradient of the scores of positions on every device.
        with sdpa_kernel(SDPBackend.MATH):
            frames, lengths = functional_call(self.network.encoder, first, (features, lengths, context))
        return frames, lengths

    def scores(self, frames: Tensor, labels: Tensor) -> Tensor:
        """Return the scores at every frame after every label, `(batch, frames, labels + 1, vocabulary + 1)`."""
        prediction, joint = self._predictor.prediction, self.network.joint
        assert joint is not None  # noqa: S101  # of the types: a transducer has one
        said = functional.pad(prediction.embed(labels), (0, 0, 1, 0)).transpose(0, 1)
        said = joint.pred(prediction.dec_rnn.lstm(said)[0].transpose(0, 1))
        scores: Tensor = joint.joint_net(joint.enc(frames)[:, :, None] + said[:, None])
        return scores

    def forward(self, batch: Batch, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return the transducer's and the CTC head's loss in nats per label, the batch's mean."""
        frames, lengths = self.encode(batch.features, batch.frames, context)
        total = batch.counts.sum().clamp(min=1)
        transducer = transducer_loss(self.scores(frames, self._told(batch)), lengths, batch.labels, batch.counts)
        head = self.network.ctc_decoder
        assert isinstance(head, CtcHead)  # noqa: S101  # of the types: a hybrid has one
        scores = head(frames).transpose(0, 1)
        blank = scores.shape[2] - 1
        ctc = functional.ctc_loss(
            scores, batch.labels, lengths, batch.counts, blank, reduction="sum", zero_infinity=True
        )
        return transducer.sum().float() / total, ctc / total

    def loss(self, batch: Batch, context: AttentionContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is minimised, and its parts for the log."""
        transducer, ctc = self(batch, context)
        return transducer + _CTC_SHARE * ctc, {"rnnt": transducer.detach(), "ctc": ctc.detach()}

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the archive by NeMo's names, in memory of the processor."""
        values = {key: value for key, value in self.network.state_dict().items() if not key.startswith("ctc_decoder.")}
        weight, bias = self._first()
        values |= {f"encoder.{_FIRST_WEIGHT}": weight.detach(), f"encoder.{_FIRST_BIAS}": bias.detach()}
        return {key: value.cpu().contiguous() for key, value in values.items()}

    def _first(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the first convolution for plain mels."""
        layer: Any = self.network.encoder.pre_encode.conv[0]
        weight = layer.weight / MEL_DEVIATION
        return weight, layer.bias - MEL_MEAN * weight.sum(dim=(1, 2, 3))

    def _told(self, batch: Batch) -> Tensor:
        """Return the labels that the prediction network is told have been said."""
        if not self._misled or not self.training:
            return batch.labels
        (count, most), device = batch.labels.shape, batch.labels.device
        place = torch.arange(most, device=device)
        others = batch.labels[place < batch.counts[:, None]]
        first = torch.randint(len(others), (count, 1), device=device)
        misled = torch.rand(count, 1, device=device) < self._misled
        return torch.where(misled, others[(first + place) % len(others)], batch.labels)


def _dropped(share: float, module: nn.Module, _arguments: object, output: Tensor) -> Tensor:
    return functional.dropout(output, share, module.training)
