"""What the site's configuration asks of the networks, as the firewall's own filler reads it.

The same plan that `passevue-network` fills the sets from: if the two read the file apart, they could differ. What root
saw before the file was put there is no measure of it.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from passevue.baseline import facts
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.config import read
from passevue.errors import ConfigError
from passevue.network.plan import Plan, read_plan


def site_plan(machine: Machine) -> Plan:
    """The plan of the configuration in use; without a file, that of a box nobody has claimed.

    Raises:
        Unmeasurable: it is not known which file that is, it cannot be read, holds something that was left out, or is
            younger than the facts.
    """
    if machine.config_path is None:
        raise Unmeasurable("it is not known which file the configuration came from")
    tree: Mapping[str, object] = {}
    if machine.config_path.exists():
        _check_seen_since(machine, machine.config_path)
        try:
            tree = tomllib.loads(read(machine.config_path))
        except (ConfigError, ValueError, RecursionError) as err:
            raise Unmeasurable("the configuration cannot be read") from err
    plan, left_out = read_plan(tree)
    if left_out:
        raise Unmeasurable(f"the firewall leaves out {', '.join(left_out)}")
    return plan


def _check_seen_since(machine: Machine, path: Path) -> None:
    facts_age_s = machine.now_s - machine.facts.uptime_s
    file_age_s = machine.now.timestamp() - path.stat().st_mtime
    if 0 <= file_age_s < min(facts_age_s, facts.FRESH_S):  # of the future: the clock was set, and tells nothing
        raise Unmeasurable("the configuration is younger than what was seen of the firewall")
