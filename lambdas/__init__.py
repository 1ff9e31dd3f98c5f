"""The brain: one decision core and the three functions that run it (healer, notifier, lifecycle)."""
