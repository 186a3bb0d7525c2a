"""Reading ONNX. Imported by :mod:`qhal.ir.importer` when a model is read, not before."""
