"""What makes a graph legal for a target."""
