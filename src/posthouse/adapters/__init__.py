"""What touches the world. An adapter knows the ports and what is below them, never another adapter."""
