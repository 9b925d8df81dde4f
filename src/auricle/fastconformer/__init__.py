"""FastConformer models read from NeMo's `.nemo` archives and run with torch, sentencepiece and pyyaml alone.

`loading.load` is the way in and needs no torch to be imported. The modules that follow the audio (`features`,
`subsampling`, `attention`, `encoder`, `transducer`, `boosting`, `beam`, `ctc`, `model`, and what they are made of)
import torch.
"""
