"""LiteRT and tflite-runtime, and the writer of their files."""
