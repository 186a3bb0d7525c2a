"""What a target is: its profile, its capabilities, the catalog."""
