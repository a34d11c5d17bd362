"""Bodies and answers as the API documents them. What is in them is checked in `manage`; here are the shapes and the types."""
