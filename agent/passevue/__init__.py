"""Passevue, an open DRIMbox.

Takes in reports and images from an imaging centre, publishes their manifests (KOS) on the French national network,
keeps everything on disk until the far side has answered, and says what is wrong in plain French.
"""

__version__ = "0.1.0"
