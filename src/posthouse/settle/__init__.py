"""What came of a delivery becomes durable: the journal, the cursor's progress, the backlog of what is owed, effects."""
