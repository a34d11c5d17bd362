"""The routes, a module a resource: from a request to a use case and back, and nothing else."""
