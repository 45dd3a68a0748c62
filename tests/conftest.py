"""Makes `service` importable for the tests in the folders below."""
