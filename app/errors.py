"""The service's exception tree.

AppError                the base
├── ConfigError         the configuration is missing or cannot be meant; the service does not start
├── SecretError         the database password could not be read; may be tried again
└── DatabaseError       no proxy led to a writable database; may be tried again
"""

from __future__ import annotations


class AppError(Exception):
    """Something the service can answer with a code."""

    code = "internal"


class ConfigError(AppError):
    """The configuration file is missing or wrong."""

    code = "configuration"


class SecretError(AppError):
    """Secrets Manager did not give the password."""

    code = "secret-unavailable"


class DatabaseError(AppError):
    """No writable database behind any proxy."""

    code = "primary-unreachable"
