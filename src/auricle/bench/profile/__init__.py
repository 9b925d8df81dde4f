"""The profile of one engine: its components' latencies, and its operators against what the machine can do.

`run` measures and records, `record` documents the events, `components` and `operators` compute every figure from
those events and nothing else, and `pictures` draws what `components` computed.
"""
