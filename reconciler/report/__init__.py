"""Values to text, JSON and markdown: pure, they return strings."""
