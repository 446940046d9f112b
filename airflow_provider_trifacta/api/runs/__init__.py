"""Runs: job groups, flow runs and plan runs. All have the same lifecycle."""
