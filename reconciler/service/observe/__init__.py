"""Seeing what the service does: logs, metrics, health."""
