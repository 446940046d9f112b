"""The REST API of Designer Cloud (``/v4``), without Airflow."""
