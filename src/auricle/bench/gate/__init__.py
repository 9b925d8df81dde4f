"""The precision gate: whether a reduced model may stand for its reference, told by what both make of the same audio.

`hearing` has a recogniser hear samples in several ways and keeps what came out; `checks` judges what a candidate and a
reference heard, and computes nothing else; `gate` loads both, and keeps the verdict.
"""
