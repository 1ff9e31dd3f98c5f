"""Configuration as text. Every function here is pure: spec, slot and secrets in, a file's text out."""
