"""How `auricle models inspect` shows a `.nemo` archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.cli.console import dash, make_table, megabytes, print_table, say

if TYPE_CHECKING:
    from rich.table import Table

KILOBYTE = 1000
MILLION = 1_000_000
HUNDREDS = 100
FEATURES = "{mels} mels of {window_samples} samples every {hop_samples} at {sample_rate} Hz"
ENCODER = "{layers} layers of width {width}, {heads} heads, feed-forward {feed_forward}"
CONVOLUTION = "{conv_left} frames before, {conv_right} after, {conv_norm}"
PRE_ENCODER = "{subsampling}x into frames of {frame_ms:g} ms, {pre_encode_channels} channels, {causal}"
TRANSDUCER = "{rnn_layers} LSTM of {hidden}, joint {joint_hidden} ({activation}), at most {max_symbols} labels a frame"


def print_archive(facts: dict[str, Any]) -> None:
    """Print what `auricle.fastconformer.describe` says of an archive: a verdict, then tables."""
    chunks = ", ".join(str(row["chunk_ms"]) for row in facts["latency_classes"])
    live = f"files, and live in chunks of {chunks} ms" if chunks else "files only"
    print(f"{facts['file']} · {facts['family']} · {_millions(facts['parameters'])} M parameters · {live}")
    if facts["not_live"]:
        say(f"not live: {facts['not_live']}")
    tables = [
        _architecture(facts),
        _weights(facts),
        *([_classes(facts)] if chunks else []),
        _peaks(facts["memory"]),
        _precisions(facts),
    ]
    for table in tables:
        print()
        print_table(table)
    print(f"measured: {facts['memory']['measured']}")


def _millions(count: int) -> str:
    return f"{count / MILLION:,.0f}" if count >= HUNDREDS * MILLION else f"{count / MILLION:.3g}"


def _architecture(facts: dict[str, Any]) -> Table:
    parts = facts["architecture"]
    encoder = parts["encoder"] | {"causal": "causal" if parts["encoder"]["pre_encode_causal"] else "not causal"}
    normalised = "each recording's bands normalised" if parts["features"]["per_feature"] else "not normalised"
    rows = {
        "features": f"{FEATURES.format_map(parts['features'])}, {normalised}",
        "subsampling": PRE_ENCODER.format_map(encoder),
        "encoder": ENCODER.format_map(encoder),
        "convolution": CONVOLUTION.format_map(encoder),
        "attention": "; ".join(_context(context) for context in facts["contexts"]),
        "decoders": ", ".join(facts["decoders"]),
        "vocabulary": f"{parts['vocabulary']} tokens and the blank",
    }
    if parts["transducer"] is not None:
        rows["prediction"] = TRANSDUCER.format_map(parts["transducer"])
        if parts["transducer"]["durations"]:
            rows["durations"] = ", ".join(map(str, parts["transducer"]["durations"])) + " frames"
    if parts["languages"] is not None:
        rows["languages"] = ", ".join(parts["languages"])
    table = make_table("architecture", "value")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _context(context: dict[str, Any]) -> str:
    if context["left"] is None and context["right"] is None:
        return "the whole recording"
    left, right = ("all" if context[side] is None else context[side] for side in ("left", "right"))
    return f"[{left}, {right}]{' in chunks' if context['chunked'] else ''}"


def _weights(facts: dict[str, Any]) -> Table:
    table = make_table("weights", "values", "MB", right=("values", "MB"))
    for group in facts["weights"]:
        table.add_row(group["dtype"], f"{group['count']:,}", megabytes(group["bytes"]))
    return table


def _classes(facts: dict[str, Any]) -> Table:
    figures = ("chunk ms", "left", "right", "lookahead ms", "slot kB fp32, int8", "slot kB bf16, fp16")
    table = make_table("live", *figures, right=figures)
    for row in facts["latency_classes"]:
        slots = (f"{row['slot_bytes'][precision] / KILOBYTE:,.1f}" for precision in ("fp32", "bf16"))
        table.add_row("", *(f"{row[key]:g}" for key in ("chunk_ms", "left", "right", "lookahead_ms")), *slots)
    return table


def _peaks(memory: dict[str, Any]) -> Table:
    peaks = {(row["batch"], row["seconds"], row["precision"]): megabytes(row["bytes"]) for row in memory["peaks"]}
    precisions = list(dict.fromkeys(precision for _, _, precision in peaks))
    figures = ("batch", "seconds", *(f"peak MB {precision}" for precision in precisions))
    table = make_table("memory", *figures, right=figures)
    for batch, seconds in dict.fromkeys((batch, seconds) for batch, seconds, _ in peaks):
        taken = (peaks[batch, seconds, precision] for precision in precisions)
        table.add_row("measured", str(batch), str(seconds), *taken)
    table.add_row("bound of a batch", "-", "-", megabytes(memory["batch_bytes"]))
    table.add_row("bound of a recording", "1", f"{memory['longest_s']:g}", megabytes(memory["recording_bytes"]))
    return table


def _precisions(facts: dict[str, Any]) -> Table:
    """Return what the weights take at each precision, and the smallest cards that hold them with what is computed."""
    chunks = [str(row["chunk_ms"]) for row in facts["latency_classes"]]
    streams = [f"1,000 streams, {chunk} ms" for chunk in chunks]
    table = make_table("precision", "weights MB", "of which", "card for files", *streams, right=("weights MB",))
    for row in facts["precisions"]:
        groups = ", ".join(f"{group['dtype']} {megabytes(group['bytes'])}" for group in row["weights"])
        cards = (dash(card) for card in (row["card_files"], *(row["card_streams"][chunk] for chunk in chunks)))
        table.add_row(row["precision"], megabytes(row["bytes"]), groups, *cards)
    return table
