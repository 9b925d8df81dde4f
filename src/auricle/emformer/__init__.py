"""RNN-T models with an Emformer encoder, as torchaudio publishes them, run with torch and sentencepiece alone.

`loading.load` is the way in and needs no torch to be imported. A model gives exactly what torchaudio's
`RNNTBeamSearch` gives of the same weights: for recordings what its `forward` does, for live streams its `infer`.
"""
