"""What the site's configuration asks of the networks, as the firewall's own filler reads it.

The same plan that `passevue-network` fills the sets from: if the two read the file apart, they could differ.
"""

import tomllib
from collections.abc import Mapping

from passevue.baseline.machine import Machine, Unmeasurable
from passevue.config import read
from passevue.errors import ConfigError
from passevue.network.plan import Plan, read_plan


def site_plan(machine: Machine) -> Plan:
    """The plan of the configuration in use; without a file, that of a box nobody has claimed.

    Raises:
        Unmeasurable: it is not known which file that is, it cannot be read, or holds something that was left out.
    """
    if machine.config_path is None:
        raise Unmeasurable("it is not known which file the configuration came from")
    tree: Mapping[str, object] = {}
    if machine.config_path.exists():
        try:
            tree = tomllib.loads(read(machine.config_path))
        except (ConfigError, ValueError, RecursionError) as err:
            raise Unmeasurable("the configuration cannot be read") from err
    plan, left_out = read_plan(tree)
    if left_out:
        raise Unmeasurable(f"the firewall leaves out {', '.join(left_out)}")
    return plan
