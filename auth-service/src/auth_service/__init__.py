"""Accounts, login sessions, machine clients and signing keys: one room each.

In a room, `endpoints` speak HTTP, `service` decides, `queries` hold the SQL.
"""
