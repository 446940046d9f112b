"""How an Airflow task handles its run: which try it belongs to, how it ends, what users see."""
