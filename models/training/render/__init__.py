"""Training pictures of open and closed bottles, path traced with Cycles."""
