"""The two slots on the disk: where they are, what lies in them, which one systemd-boot takes, and how one is made to
start.

Used by root programs only: rauc-boot, rauc-admit and health on the box, the hook in the bundle (which carries its
own copy: a new release brings its own idea of how it becomes bootable). Standard library only. What changes the disk
is a generator that does one
write per step, each on the disk before the next: a power cut is a generator that was not run to its end, and the
tests cut there.
"""
