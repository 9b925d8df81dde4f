"""Qwen3-ASR in plain torch: an audio encoder in windows, and a Qwen3 decoder with a cache of fixed size.

The weights, the configuration and the tokenizer are those of a checkpoint folder; transformers reads the tokenizer and
computes the mel filters, and none of its model code runs. `encoder` and `decoder` are the networks, `generate` the
greedy loop, `live` what streams keep, `model` what files and streams share; nothing that is asked of it changes it.
"""
