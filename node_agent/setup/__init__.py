"""The parts of `configure`: what each service of a role needs to be there, in an order that a crash cannot hurt."""
