"""A cluster behind nginx, and what it promises, whether its parts are processes or containers."""
