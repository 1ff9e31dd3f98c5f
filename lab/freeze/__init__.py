"""Freezes the host that leads both the database and etcd, thaws it, and counts acknowledged writes that are gone.

The proof of the guard around Patroni (docs/patroni-guard.md), with the guard on, and with it off, where the loss shows.
"""
