"""Apache Airflow provider for Trifacta (Designer Cloud, Dataprep by Trifacta, Alteryx One)."""

__version__ = "0.1.0"
