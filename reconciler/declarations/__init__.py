"""Files to desired: load, validate, resolve."""
