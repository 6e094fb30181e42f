"""Keeping the session of every connected gateway."""
