"""The appliance's own place on the networks: the configuration, as the system's network daemons and firewall want it.

Takes the configuration's tree, gives sets for nftables, files for networkd, sources for chrony. It never opens a
connection for the box, and makes no rule: those are in the signed image (systemd/etc/nftables.conf).
"""
