"""What a backend wrote, with all that is needed to run it."""
