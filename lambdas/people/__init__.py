"""The command line of the people on call: what the healer does and why, and how to tell it what it may do."""
