"""The RNN-T loss in plain torch, differentiable by autograd, for small vocabularies on any device.

It is minus the log-probability of the labels summed over every alignment (Graves, https://arxiv.org/abs/1211.3711,
section 2.4). Over the frames the recursion is linear in probabilities, hence a cumulative sum; only labels are looped.
"""

from __future__ import annotations

import torch
from torch import Tensor


def transducer_loss(scores: Tensor, frames: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Return the loss of each recording in nats, shape `(batch,)`, in double precision.

    `scores` `(batch, frames, most labels + 1, vocabulary + 1)` are unnormalised, the blank last; `frames` and `counts`
    `(batch,)` are the valid frames, at least one, and labels of each; `labels` is `(batch, most labels)`.
    """
    kinds = scores.shape[3]
    log_total = scores.logsumexp(dim=3)
    blank = (scores[..., kinds - 1] - log_total).double()
    index = labels[:, None, :, None].expand(-1, scores.shape[1], -1, 1)
    spoken = (scores[:, :, :-1].gather(3, index)[..., 0] - log_total[:, :, :-1]).double()
    # What it costs to have stayed at one label from the first frame to each frame; and the sum, over the frames so far,
    # of having got to a label, relative to that.
    stayed = blank.cumsum(dim=1) - blank
    steps = (stayed[:, :, :-1] + spoken - stayed[:, :, 1:]).unbind(dim=2)
    reached = [torch.zeros_like(stayed[:, :, 0])]
    for step in steps:
        reached.append((reached[-1] + step).logcumsumexp(dim=1))
    ended = torch.stack(reached, dim=2) + stayed + blank
    last = (frames - 1) * scores.shape[2] + counts
    return -ended.flatten(1).gather(1, last[:, None])[:, 0]
