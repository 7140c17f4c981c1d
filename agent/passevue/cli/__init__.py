"""What people type: one module a group of commands, over the same functions as the page.

Takes a configuration and the store of this machine; works while the box runs, and when it does not. Prints for people
in French, or JSON with `--json`. Every act on the queue is written to the audit trail before it happens.
"""
