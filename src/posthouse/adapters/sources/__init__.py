"""Sources that come with Posthouse, each a kind of trigger."""
