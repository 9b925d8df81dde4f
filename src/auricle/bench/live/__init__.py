"""The live benchmark: quality and latency against load, on any server, over the wire alone.

`record` documents what a run keeps. `sweep` and `capacity` make runs; `summary` computes every figure from the events.
"""
