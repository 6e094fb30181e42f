"""Desired and actual to a plan, and a plan to outcomes."""
