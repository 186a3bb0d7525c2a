"""Other forms of operators: what a target without them can execute instead."""
