"""A story to watch, and the mail server that it plays on; no part of what is installed."""
