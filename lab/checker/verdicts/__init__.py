"""What may be concluded from a history. Pure: records in, findings out; nothing here connects."""
