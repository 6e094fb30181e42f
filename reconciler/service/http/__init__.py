"""The service's HTTP API and its monitoring page."""
