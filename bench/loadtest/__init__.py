"""The load test: `make loadtest`. Users and what they do are in `locustfile.py`."""
