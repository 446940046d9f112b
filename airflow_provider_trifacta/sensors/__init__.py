"""Sensors, one module per resource."""
