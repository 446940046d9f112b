"""What a run is to the API: job groups today; every kind has the same life."""
