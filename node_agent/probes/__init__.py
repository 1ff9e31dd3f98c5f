"""What an agent can see of its own services and of its peers. A probe without an answer returns unknowns."""
