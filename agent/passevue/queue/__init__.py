"""Keeps what came in until the registry has it: the durable centre.

In: received things with their tasks. Out: entries handed to `Work`, counters and lists for people, the archive.
Never: reads a document, speaks to a neighbour, forgets what it has acknowledged.
"""
