"""Hooks: turn an Airflow connection into a client."""
