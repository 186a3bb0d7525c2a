"""The backends that come with qhal, one folder each."""
