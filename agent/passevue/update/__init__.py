"""Takes in a bundle that somebody asked to install; gives out a box that runs it, or runs what it ran before and says
why.

Decides when (`journey`, `window`) and whether it was good (`gate`); writing slots is RAUC's, believing them too. It
never marks a slot good by itself, never goes back to an older version, and never restarts while something is under way.
"""
