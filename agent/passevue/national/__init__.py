"""Speaks to the national network in the name of a structure.

In: frozen submissions from the queue. Out: signed requests over mTLS, and the answer that settles or refuses them.
Never: takes anything from the cabinet itself, changes what was frozen, or lets a private key out.
"""
