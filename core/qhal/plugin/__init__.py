"""Plugins: how they are found, what they implement, how they are called."""
