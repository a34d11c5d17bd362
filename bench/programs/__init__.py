"""What runs beside the server while it is measured, each in a process of its own."""
