"""Scoring: text normalisers, alignment, WER and CER with intervals, comparison of two runs, statistics of timings."""
