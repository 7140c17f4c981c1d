"""Reading: what the kernel and the system's programs write, parsed. Bytes or text in, frozen values out, no I/O.

Each raises `Unreadable` for what is not in the form it knows; a rule lets that through, and its result is `unknown`.
"""
