"""What a run is to a task of Airflow: which try it belongs to, how it ends, what users see."""
