"""The demo: faults one after another under load, watched live, measured, and written down."""
