"""The local AWS: moto in this process, extended where it falls short. It stands in for AWS, never for the nodes."""
