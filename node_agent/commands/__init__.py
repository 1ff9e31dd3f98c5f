"""One file a verb of `pgmend-node`. Each returns a sentence that says what was done, or raises an AgentError."""
