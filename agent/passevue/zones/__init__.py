"""The box's trust zones (design.md § 4): which parts each is made of, and how they reach each other across processes.

Takes what the stages offer, joins it zone by zone for `box`. Zones that share a process use each other's objects; zones
that do not speak over local sockets, through stand-ins with the same face. It decides nothing of a document's way.
"""
