"""ONNX Runtime on the processors of this host."""
