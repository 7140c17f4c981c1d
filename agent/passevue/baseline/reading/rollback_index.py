"""The rollback index that the TPM keeps, as the facts have it (`rollback_index`: JSON of `notary.tpm.Tpm.kept`)."""

from passevue.baseline.facts import Facts
from passevue.errors import Unreadable
from passevue.notary.rollback import index_of


def kept_index(facts: Facts) -> int | None:
    """None when the TPM keeps none. Raises: Unreadable when it was not read, or makes no sense."""
    if facts.absent("rollback_index"):
        raise Unreadable("the machine has no TPM")
    tree = facts.tree("rollback_index")
    if tree is not None and not isinstance(tree, dict):
        raise Unreadable("the rollback index is told in another form")
    return index_of(tree)
