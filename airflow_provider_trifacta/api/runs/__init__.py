"""What a run is to the API: a job group, a flow run or a plan run. All have the same life."""
