"""Key phrases as a prefix tree of tokens: what each token gains that goes on with a phrase.

The gains are those of NeMo's phrase boosting: 1 for the first token of a phrase, 2 + ln(n) for its n-th. What a phrase
that is not complete has gained is owed: it is given back when something else is said. The arcs of a state are those of
Aho and Corasick (https://doi.org/10.1145/360825.360855) with all their failures followed beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auricle.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.tokens import Tokenizer

MOST_PHRASES = 200
MOST_CHARACTERS = 200
"""Of one phrase."""
MOST_ARCS = 512
"""From one state of a tree."""
MOST_STATES = 4096
MOST_ARCS_IN_A_TREE = 32_768

Phrases = tuple[tuple[int, ...], ...]
"""Key phrases as tokens."""

_FIRST_GAIN = 1.0
_NEXT_GAIN = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """States from the root, which is 0, on; the arcs of a state follow each other from `first`, `count` in number.

    A token without an arc leads to where the root's arcs lead it, or to the root. `owed` is what a state gives back on
    the way to the root; the `gains` of a state's own arcs have it given back already.
    """

    owed: NDArray[np.float32]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    labels: NDArray[np.int64]
    targets: NDArray[np.int64]
    gains: NDArray[np.float32]


@dataclass(slots=True)
class _Node:
    """What is known of a state; `total` is what its tokens gain, `said` what the phrases gain that end with it."""

    parent: int = 0
    gain: float = 0.0
    total: float = 0.0
    is_end: bool = False
    fail: int = 0
    said: float = 0.0
    owed: float = 0.0


def spell(phrases: Sequence[str], tokenizer: Tokenizer) -> Phrases:
    """Return the tokens of phrases, each as it was given, in lower case, and as it would begin a sentence.

    Raises UnsupportedError for a phrase that is empty, too long, or that the model cannot write, and for too many.
    """
    if len(phrases) > MOST_PHRASES:
        raise UnsupportedError("too many key phrases", len(phrases), f"give at most {MOST_PHRASES}")
    spelt: dict[tuple[int, ...], None] = {}
    for phrase in phrases:
        text = " ".join(phrase.split())
        if not text or len(text) > MOST_CHARACTERS:
            raise UnsupportedError(
                "a key phrase is malformed", repr(phrase)[:80], f"give 1 to {MOST_CHARACTERS} characters"
            )
        forms = (tokenizer.spell(form) for form in (text, text.lower(), text[0].upper() + text[1:]))
        known = [form for form in forms if form]
        if not known:
            raise UnsupportedError(
                "the model cannot write a key phrase", text, "write it in letters that the model knows"
            )
        spelt.update(dict.fromkeys(known))
    return tuple(spelt)


def grow_tree(phrases: Phrases) -> Tree:
    """Return the tree of phrases of one token at least; raises UnsupportedError for one that is too large."""
    nodes, children = _plant(phrases)
    arcs = _link_all(nodes, children)
    count = np.array([len(each) for each in arcs])
    if count.max() > MOST_ARCS or count.sum() > MOST_ARCS_IN_A_TREE:
        raise UnsupportedError("too many key phrases go on from one place", count.max(), "give fewer or shorter ones")
    targets = [target for each in arcs for target in each.values()]
    starts = [state for state, each in enumerate(arcs) for _ in each]
    return Tree(
        np.array([node.owed for node in nodes], np.float32),
        np.cumsum(count) - count,
        count,
        np.array([label for each in arcs for label in each]),
        np.array(targets),
        np.array([_gain(nodes, *arc) for arc in zip(starts, targets, strict=True)], np.float32),
    )


def _plant(phrases: Phrases) -> tuple[list[_Node], list[dict[int, int]]]:
    nodes, children = [_Node()], [dict[int, int]()]
    for phrase in phrases:
        state = 0
        for place, token in enumerate(phrase):
            if token not in children[state]:
                gain = _NEXT_GAIN + math.log(place + 1) if place else _FIRST_GAIN
                children[state][token] = len(nodes)
                nodes.append(_Node(state, gain, nodes[state].total + gain))
                children.append({})
            state = children[state][token]
        nodes[state].is_end = True
    if len(nodes) > MOST_STATES:
        raise UnsupportedError(
            "the key phrases are too long together", len(nodes), f"give at most {MOST_STATES} tokens"
        )
    return nodes, children


def _link_all(nodes: Sequence[_Node], children: Sequence[dict[int, int]]) -> list[dict[int, int]]:
    """Link all states, and return the arcs of each: its children, and what it has of those that it fails to."""
    arcs, order = [children[0]] + [{}] * (len(nodes) - 1), [0]
    for state in order:
        for token, child in children[state].items():
            _link(nodes, child, arcs[nodes[state].fail].get(token, children[0].get(token, 0)) if state else 0)
            arcs[child] = _with_those_of(arcs, nodes[child].fail, children[child])
            order.append(child)
    for state, node in enumerate(nodes):
        if node.is_end:
            node.fail = _start_afresh(nodes, state)
    for state in order[1:]:
        arcs[state] = _with_those_of(arcs, nodes[state].fail, children[state])
    return arcs


def _with_those_of(arcs: Sequence[dict[int, int]], fail: int, own: dict[int, int]) -> dict[int, int]:
    return {**arcs[fail], **own} if fail else own


def _start_afresh(nodes: Sequence[_Node], state: int) -> int:
    """Return where a completed phrase fails to: not into itself, or each further token of it would gain it anew."""
    within, fail = nodes[state].parent, nodes[state].fail
    own = set()
    while within:
        own.add(within)
        within = nodes[within].parent
    while fail in own:
        fail = nodes[fail].fail
    return fail


def _link(nodes: Sequence[_Node], state: int, fail: int) -> None:
    """Set where a state fails to and what it owes: all that it gained since a phrase ended in it or on the way."""
    node = nodes[state]
    node.fail = fail
    node.said = node.total if node.is_end else nodes[fail].said
    node.owed = 0.0 if node.is_end else max(nodes[node.parent].owed + node.gain - nodes[fail].said, 0.0)


def _gain(nodes: Sequence[_Node], start: int, target: int) -> float:
    """Return what an arc gains: that of its token, less what `start` owes beyond the state that it goes on from."""
    return nodes[target].gain + nodes[nodes[target].parent].owed - nodes[start].owed
