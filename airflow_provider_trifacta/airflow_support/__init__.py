"""What we need of Airflow beyond its SDK."""
