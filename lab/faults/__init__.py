"""Faults in packages `inject / heal / describe`: what can be broken, on whom, and the way back."""
