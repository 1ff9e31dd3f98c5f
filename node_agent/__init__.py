"""The node agent: one small daemon and one command line on every instance. It decides nothing about other nodes."""
