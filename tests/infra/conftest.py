"""Tests that need a Docker engine run only where they are named: `make test-container`."""

collect_ignore_glob = ["test_container*.py"]
