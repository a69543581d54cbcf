"""Caffe's networks, read, preprocessed for and converted to ONNX once; nothing of Caffe is needed."""
