"""What models of published sizes take in memory at each precision, from their configuration alone, as a Markdown table.

`python -m tools.precision_memory`. Weights and slots are exact; peaks are measured as `auricle models inspect` does.
"""

from __future__ import annotations

import torch

from auricle.fastconformer.cards import smallest_card
from auricle.fastconformer.describe import MEASURED_BATCHES, MEASURED_PRECISIONS, MEASURED_S, STREAMS
from auricle.fastconformer.measure import held, peak_bytes
from auricle.fastconformer.memory import slot_bytes
from auricle.fastconformer.reading import parse_config
from auricle.fastconformer.streaming.latency import latency_classes
from tools.cpu_speed_models import SIZES, configuration

MB = 1_000_000


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    batches = [(batch, seconds) for batch in MEASURED_BATCHES for seconds in MEASURED_S]
    heads = [f"peak of {batch} x {seconds} s" for batch, seconds in batches]
    for name, size in SIZES.items():
        config = parse_config(configuration(size))
        classes = latency_classes(config)
        slots = [f"slot at {latency.chunk_ms} ms" for latency in classes]
        print(f"| {name}, MB | weights | {' | '.join([*slots, *heads])} | card for {STREAMS:,} streams |")
        print("| --- " * (3 + len(slots) + len(heads)) + "|")
        for precision in MEASURED_PRECISIONS:
            weights = sum(group.bytes for group in held(config, precision))
            taken = [slot_bytes(config, latency, precision) for latency in classes]
            rate = config.features.sample_rate
            peaks = [peak_bytes(config, [seconds * rate] * batch, precision) for batch, seconds in batches]
            cells = [
                f"{weights / MB:,.0f}",
                *(f"{each / MB:.2f}" for each in taken),
                *(f"{each / MB:.0f}" for each in peaks),
            ]
            cards = dict.fromkeys(smallest_card(weights + STREAMS * each) or "none" for each in taken)
            print(f"| {precision} | {' | '.join(cells)} | {', '.join(cards)} |")
        print()


if __name__ == "__main__":
    main()
