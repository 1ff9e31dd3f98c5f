"""The local AWS: moto in this process, extended where it falls short of AWS. It is stood in for AWS, never for the nodes."""
