"""Arm: Ethos-U through Vela, and Cortex-M through TensorFlow Lite Micro."""
