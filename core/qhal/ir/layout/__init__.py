"""NCHW to the target's order of dimensions, with as few transposes as possible."""
