"""An emulated Arm core, and what runs in it."""
