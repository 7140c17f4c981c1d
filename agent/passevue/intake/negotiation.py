"""Who may associate, and for what: decisions alone.

A called or calling AE title that the configuration does not name is refused for good; so is everyone when it names
nobody (fail closed, C-ECHO included). An address outside the caller's networks is as unknown as another title.

Storage is taken for every SOP class of PS3.4 Annex B and for private ones, in every transfer syntax save the deflated
ones (never proposed to, a few kilobytes of them unpack to gigabytes) and those made for live video streams.
"""

from ipaddress import ip_address

from passevue import config
from passevue.intake.association import (
    APPLICATION_CONTEXT,
    APPLICATION_CONTEXT_NOT_SUPPORTED,
    CALLED_AE_NOT_RECOGNISED,
    CALLING_AE_NOT_RECOGNISED,
    PROTOCOL_VERSION_NOT_SUPPORTED,
    AssociationRequest,
    Context,
    ContextResult,
    ProposedContext,
    Rejection,
)

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
RLE = "1.2.840.10008.1.2.5"
COMPRESSED_ARC = "1.2.840.10008.1.2.4."
DEFLATED = frozenset(
    f"1.2.840.10008.1.2.{each}" for each in ("1.99", "4.95", "4.205", "8.1")
)  # deflated LE, JPIP deflate, JPIP HTJ2K deflate, deflated image frame

DICOM_ARC = "1.2.840.10008."
STORAGE_ARCS = (
    "1.2.840.10008.5.1.4.1.1.",  # all but a handful of the storage classes (PS3.4 table B.5-1)
    "1.2.840.10008.5.1.4.34.",  # RT beams delivery instruction and other RT storage
)
STORAGE_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.38.1",  # hanging protocol
        "1.2.840.10008.5.1.4.39.1",  # colour palette
        "1.2.840.10008.5.1.4.43.1",  # generic implant template
        "1.2.840.10008.5.1.4.44.1",  # implant assembly template
        "1.2.840.10008.5.1.4.45.1",  # implant template group
        "1.2.840.10008.5.1.1.27",  # stored print (retired)
        "1.2.840.10008.5.1.1.29",  # hardcopy greyscale (retired)
        "1.2.840.10008.5.1.1.30",  # hardcopy colour (retired)
    }
)
NOT_STORAGE = frozenset(
    f"1.2.840.10008.5.1.4.{each}"
    for each in (
        *("1.1.200.4", "1.1.200.5", "1.1.200.6"),  # protocol approval: find, move, get
        *("1.1.201.2", "1.1.201.3", "1.1.201.4", "1.1.201.5", "1.1.201.6"),  # inventory services, repository query
        *("34.8", "34.9"),  # RT machine verification
    )
)
UNIFIED_PROCEDURE_STEP = ("1.2.840.10008.5.1.4.34.4", "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.6")


def in_networks(networks: tuple[config.Network, ...], peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def refusal(request: AssociationRequest, settings: config.Modality, peer: str) -> Rejection | None:
    """Why this association is not taken, for good; None when it is."""
    if not request.protocol_version & 1:
        return PROTOCOL_VERSION_NOT_SUPPORTED
    if request.application_context != APPLICATION_CONTEXT:
        return APPLICATION_CONTEXT_NOT_SUPPORTED
    if request.called_ae != settings.ae_title.strip():
        return CALLED_AE_NOT_RECOGNISED
    networks = {title.strip(): networks for title, networks in settings.callers.items()}.get(request.calling_ae, ())
    return None if in_networks(networks, peer) else CALLING_AE_NOT_RECOGNISED


def is_storage(abstract_syntax: str) -> bool:
    """A storage class of the standard, or a private class: only C-STORE is served on those."""
    if abstract_syntax in STORAGE_CLASSES:
        return True
    if abstract_syntax in NOT_STORAGE or abstract_syntax.startswith(UNIFIED_PROCEDURE_STEP):
        return False
    if abstract_syntax.startswith(STORAGE_ARCS):
        return True
    return bool(abstract_syntax) and abstract_syntax[0] in "012" and not abstract_syntax.startswith(DICOM_ARC)


def is_taken(transfer_syntax: str) -> bool:
    if transfer_syntax in DEFLATED:
        return False
    return transfer_syntax in (*NATIVE, ENCAPSULATED_UNCOMPRESSED, RLE) or transfer_syntax.startswith(COMPRESSED_ARC)


def answer(proposed: ProposedContext) -> Context:
    """The first transfer syntax that we take, in the requestor's order."""
    if is_storage(proposed.abstract_syntax):
        taken = [each for each in proposed.transfer_syntaxes if is_taken(each)]
    elif proposed.abstract_syntax in (VERIFICATION, STORAGE_COMMITMENT):
        taken = [each for each in proposed.transfer_syntaxes if each in NATIVE]
    else:
        return context(proposed, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, proposed.transfer_syntaxes[0])
    if not taken:
        return context(proposed, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, proposed.transfer_syntaxes[0])
    return context(proposed, ContextResult.ACCEPTED, taken[0])


def context(proposed: ProposedContext, result: ContextResult, transfer_syntax: str) -> Context:
    return Context(proposed.id, result, proposed.abstract_syntax, transfer_syntax)


def roles(request: AssociationRequest) -> dict[str, tuple[bool, bool]]:
    """Answers to proposed roles: the requestor may be SCU as it wishes, never SCP (PS3.7 D.3.3.4)."""
    return {uid: (scu, False) for uid, (scu, _) in request.roles.items()}
