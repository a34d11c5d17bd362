"""Triggers: sources that observe, and the runner that publishes what they see."""
