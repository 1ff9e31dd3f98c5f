"""Load and measurement: a writer that remembers every outcome, a prober that asks who can write."""
