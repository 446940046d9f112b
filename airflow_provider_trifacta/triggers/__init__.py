"""Triggers, one module a resource."""
