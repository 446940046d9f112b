"""Sensors, one module a resource."""
