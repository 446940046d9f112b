"""Triggers, one module per resource."""
