"""The checker of writes: clients that remember what they were told, and a judge who was not there.

`workloads/` says what is asked of the database, `client` and `session` ask it, `history` remembers
every question and answer on disk, `look` reads what is there in the end, and `judge` with
`verdicts/` concludes from files alone which promises were broken. The judging half never imports
the asking half and opens no connection.
"""
