"""The lab: a local AWS and real nodes on one Linux machine. Nothing that ships imports it."""
