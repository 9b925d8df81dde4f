"""Models written as ONNX graphs: the encoder live and for files, the decoders and the features, and foreign layouts."""
