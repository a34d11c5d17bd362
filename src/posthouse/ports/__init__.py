"""What the engine needs of the world, in the domain's words. Adapters provide it; one suite tests every adapter of a port."""
