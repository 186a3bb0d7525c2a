"""The machine below: files, locks, temporary folders, processes that end with qhal, telemetry."""
