"""Writes ebRIM 3.0 registry objects: slots, classifications, external identifiers, associations.

Knows the form, not what is said. Children come in the order of the schema (Slot, Name, Description, Classification,
ExternalIdentifier): the ANS sample puts one Slot later, which its schema forbids. Symbolic ids are counted, so the
same facts give the same bytes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lxml import etree

from passevue.document.header import Code

RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
LCM = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
HAS_MEMBER = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"
ASSOCIATION_OBJECT = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:Association"

Element: TypeAlias = Any  # lxml has no types

# XML 1.0 § 2.2: what no document can hold, however escaped. HL7 v2 text may hold it.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal(text: str) -> str:
    return _NOT_XML.sub("", text)


@dataclass
class Request:
    """One lcm:SubmitObjectsRequest under construction."""

    root: Element = field(default_factory=lambda: etree.Element(f"{{{LCM}}}SubmitObjectsRequest", nsmap={"lcm": LCM}))
    counters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.objects = etree.SubElement(self.root, f"{{{RIM}}}RegistryObjectList", nsmap={None: RIM})

    def next_id(self, prefix: str) -> str:
        self.counters[prefix] = self.counters.get(prefix, 0) + 1
        return f"{prefix}{self.counters[prefix]}"

    def object(self, tag: str, **attributes: str) -> Element:
        return etree.SubElement(self.objects, f"{{{RIM}}}{tag}", **attributes)

    def classification(self, owner: Element, scheme: str, code: Code) -> None:
        """A coded attribute; its Name is the label, or the code where there is none."""
        element = self._classification(owner, scheme, nodeRepresentation=legal(code.code))
        slot(element, "codingScheme", (code.system,))
        name(element, "Name", code.label or code.code)

    def author(self, owner: Element, scheme: str, slots: Iterable[tuple[str, str]]) -> None:
        element = self._classification(owner, scheme, nodeRepresentation="")
        for key, value in slots:
            if value:
                slot(element, key, (value,))

    def node(self, owner: Element, uuid: str) -> None:
        """Says what an object is."""
        etree.SubElement(
            owner,
            f"{{{RIM}}}Classification",
            classificationNode=uuid,
            classifiedObject=owner.get("id"),
            id=self.next_id("cla"),
        )

    def _classification(self, owner: Element, scheme: str, **attributes: str) -> Element:
        return etree.SubElement(
            owner,
            f"{{{RIM}}}Classification",
            classificationScheme=scheme,
            classifiedObject=owner.get("id"),
            id=self.next_id("cla"),
            **{key: value for key, value in attributes.items() if value},
        )

    def external_identifier(self, owner: Element, scheme: str, value: str, label: str) -> None:
        element = etree.SubElement(
            owner,
            f"{{{RIM}}}ExternalIdentifier",
            id=self.next_id("ei"),
            identificationScheme=scheme,
            registryObject=owner.get("id"),
            value=legal(value),
        )
        name(element, "Name", label)

    def association(self, kind: str, source: str, target: str, slots: Iterable[tuple[str, str]], **more: str) -> None:
        element = self.object(
            "Association",
            associationType=kind,
            id=self.next_id("Association"),
            sourceObject=source,
            targetObject=target,
            **more,
        )
        for key, value in slots:
            slot(element, key, (value,))

    def to_bytes(self) -> bytes:
        content: bytes = etree.tostring(self.root, encoding="UTF-8", xml_declaration=True)
        return content


def slot(owner: Element, key: str, values: Iterable[str]) -> None:
    """A Slot; without a value it is left out, as an empty ValueList says nothing."""
    kept = [legal(value) for value in values if value]
    if not kept:
        return
    element = etree.SubElement(owner, f"{{{RIM}}}Slot", name=key)
    value_list = etree.SubElement(element, f"{{{RIM}}}ValueList")
    for value in kept:
        etree.SubElement(value_list, f"{{{RIM}}}Value").text = value


def name(owner: Element, tag: str, text: str) -> None:
    """Name or Description."""
    element = etree.SubElement(owner, f"{{{RIM}}}{tag}")
    string = etree.SubElement(element, f"{{{RIM}}}LocalizedString", charset="UTF8", value=legal(text))
    string.set(XML_LANG, "FR")
