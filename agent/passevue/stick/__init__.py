"""Takes in a USB stick that somebody had read at the page; gives out the files that were asked for, from its root.

Nothing of it is the kernel's but the bus: SCSI over usbfs, partitions, FAT and exFAT are read here, and nothing is
written. Runs in a process of its own (`passevue-stick.service`), without key and network; what comes is believed for
its signature, by others.
"""
