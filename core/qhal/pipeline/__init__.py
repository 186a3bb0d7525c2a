"""The verbs: deploy, check and bench, from top to bottom."""
