"""Forms of ONNX operators that are no operators of qhal, for targets that do not run them."""
