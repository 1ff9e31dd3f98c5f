"""AWS behind small classes. An adapter translates and never decides."""
