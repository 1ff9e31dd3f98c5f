"""The decision core: pure functions over frozen data. It must never do I/O, read a clock or know AWS."""
