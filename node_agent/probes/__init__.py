"""What an agent can see of its own services and of its peers. A probe that gets no answer returns unknowns, not errors."""
