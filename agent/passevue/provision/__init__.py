"""Takes in who may configure a box, its configuration and the wish to erase it; gives out a box that is a centre's,
or nobody's.

What needs root is done by small programs (`configure`, `recovery`, `erase`) that read one order of the page and look
at its owner. Nothing here is believed for being on the disk: a configuration is signed, an erasure is typed.
"""
