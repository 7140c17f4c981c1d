"""What is refused, each with its exact answer (hl7v2.md § 6)."""

import base64

import pytest

from passevue.errors import Hl7Error
from passevue.intake.ris import read_ris_message
from tests.unit.intake.ris_messages import B64, MDM, MDM_2, OMI, ORU, after, answer, with_field, without


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (with_field(ORU, "MSH", 9, b"ADT^A01^ADT_A01"), ("AE", 200, "MSH^1^9", None)),
        (with_field(ORU, "MSH", 9, b"ZAM^Z01"), ("AE", 200, "MSH^1^9", None)),
        (with_field(ORU, "MSH", 9, b""), ("AE", 200, "MSH^1^9", None)),
        (with_field(ORU, "MSH", 9, b"ORU^R03^ORU_R03"), ("AE", 201, "MSH^1^9", None)),
        (with_field(MDM, "MSH", 9, b"MDM^T01^MDM_T01"), ("AE", 201, "MSH^1^9", None)),
        (with_field(ORU, "MSH", 9, b"ORU"), ("AE", 201, "MSH^1^9", None)),
        (with_field(ORU, "MSH", 10, b""), ("AE", 101, "MSH^1^10", None)),
        (with_field(ORU, "MSH", 10, b"x" * 200), ("AE", 102, "MSH^1^10", None)),
        (with_field(ORU, "MSH", 11, b"X"), ("AE", 202, "MSH^1^11", None)),
        (with_field(ORU, "MSH", 11, b""), ("AE", 202, "MSH^1^11", None)),
        (with_field(ORU, "MSH", 12, b"2.3.1"), ("AE", 203, "MSH^1^12", None)),
        (with_field(ORU, "MSH", 12, b"2.6"), ("AE", 203, "MSH^1^12", None)),
        (with_field(MDM, "MSH", 12, b"2.5"), ("AE", 203, "MSH^1^12", None)),
        (with_field(OMI, "MSH", 12, b"2.5"), ("AE", 203, "MSH^1^12", None)),
        (with_field(ORU, "MSH", 21, b"3.0^CISIS_CDA_HL7_V2"), ("AE", 203, "MSH^1^21", None)),
        (with_field(ORU, "MSH", 18, b"UNICODE UTF-16"), ("AE", 103, "MSH^1^18", None)),
        (without(ORU, "PID"), ("AE", 100, "PID", None)),
        (without(ORU, "PV1"), ("AE", 100, "PV1", None)),
        (without(ORU, "ORC"), ("AE", 100, "ORC", None)),
        (without(ORU, "OBR"), ("AE", 100, "OBR", None)),
        (without(ORU, "OBX"), ("AE", 100, "OBX", None)),
        (without(ORU, "PRT"), ("AE", 100, "PRT", None)),
        (without(MDM, "EVN"), ("AE", 100, "EVN", None)),
        (without(MDM, "TXA"), ("AE", 100, "TXA", None)),
        (without(OMI, "IPC"), ("AE", 100, "IPC", None)),
        (without(OMI, "PID"), ("AE", 100, "PID", None)),
        (after(without(ORU, "PID"), "OBR", b"PID|||x"), ("AE", 100, "PV1^1", None)),
        (after(ORU, "PID", b"PID|||other"), ("AE", 198, "PID^2", None)),
        (after(ORU, "PID", b"MSH|^~\\&|x"), ("AE", 198, "MSH^2", None)),
        (with_field(ORU, "PID", 3, b""), ("AE", 101, "PID^1^3", None)),
        (with_field(ORU, "PID", 3, b"IPP1^^^A&1.2.3&ISO^PI"), ("AE", 101, "PID^1^3", None)),
        (with_field(ORU, "PID", 3, b"279035121518988^^^N&1.2.250.1.213.1.4.10&ISO^INS"), ("AE", 102, "PID^1^3", None)),
        (with_field(ORU, "PID", 3, b"2790351215189^^^N&1.2.250.1.213.1.4.10&ISO^INS"), ("AE", 102, "PID^1^3", 905)),
        (with_field(ORU, "PID", 3, b"279035121518989^^^N&1.2.3&ISO^INS"), ("AE", 102, "PID^1^3", None)),
        (with_field(ORU, "PID", 3, b"279035121518989^^^N^INS"), ("AE", 102, "PID^1^3", None)),
        (
            with_field(
                ORU,
                "PID",
                3,
                b"279035121518989^^^N&1.2.250.1.213.1.4.10&ISO^INS~274075176079430^^^N&1.2.250.1.213.1.4.10&ISO^INS",
            ),
            ("AE", 198, "PID^1^3", None),
        ),
        (with_field(ORU, "PID", 5, b""), ("AE", 101, "PID^1^5", None)),
        (with_field(ORU, "PID", 5, b"PAT-TROIS^^^^^^L"), ("AE", 101, "PID^1^5", None)),
        (with_field(ORU, "PID", 5, b"USAGE^DOMI^^^^^D"), ("AE", 101, "PID^1^5", None)),
        (with_field(ORU, "PID", 5, b"PAT\\.br\\TROIS^D^^^^^L"), ("AE", 102, "PID^1^5", None)),
        (with_field(ORU, "PID", 7, b""), ("AE", 101, "PID^1^7", None)),
        (with_field(ORU, "PID", 7, b"28/03/1979"), ("AE", 102, "PID^1^7", None)),
        (with_field(ORU, "PID", 7, b"19791328"), ("AE", 102, "PID^1^7", None)),
        (with_field(ORU, "PID", 7, b"19790332"), ("AE", 102, "PID^1^7", None)),
        (with_field(ORU, "PID", 7, "١٩٧٩".encode()), ("AE", 102, "PID^1^7", None)),
        (with_field(ORU, "PID", 8, b""), ("AE", 101, "PID^1^8", None)),
        (with_field(ORU, "PID", 8, b"X"), ("AE", 103, "PID^1^8", None)),
        (with_field(ORU, "PV1", 2, b""), ("AE", 101, "PV1^1^2", None)),
        (with_field(ORU, "PV1", 2, b"Z"), ("AE", 103, "PV1^1^2", None)),
        (with_field(ORU, "ORC", 1, b""), ("AE", 101, "ORC^1^1", None)),
        (with_field(ORU, "ORC", 1, b"SC"), ("AE", 103, "ORC^1^1", None)),
        (with_field(ORU, "OBR", 4, b""), ("AE", 101, "OBR^1^4", None)),
        (with_field(ORU, "OBR", 4, b"11502-2^Labo^LN"), ("AE", 103, "OBR^1^4", None)),
        (with_field(ORU, "OBX", 3, b""), ("AE", 101, "OBX^1^3", None)),
        (with_field(ORU, "OBX", 3, b"11502-2^Labo^LN"), ("AE", 103, "OBX^1^3", None)),
        (with_field(ORU, "OBX", 11, b""), ("AE", 101, "OBX^1^11", None)),
        (with_field(ORU, "OBX", 11, b"P"), ("AE", 103, "OBX^1^11", None)),
        (with_field(ORU, "OBX", 5, B64), ("AE", 102, "OBX^1^5", None)),
        (with_field(ORU, "OBX", 5, b"^TEXT^PDF^Base64^" + B64), ("AE", 102, "OBX^1^5", None)),
        (with_field(ORU, "OBX", 5, b"^TEXT^XML^A^" + B64), ("AE", 102, "OBX^1^5", None)),
        (with_field(ORU, "OBX", 5, b"^TEXT^XML^Base64^"), ("AE", 101, "OBX^1^5", None)),
        (with_field(ORU, "OBX", 5, b"^TEXT^XML^Base64^" + B64[:-1]), ("AE", 102, "OBX^1^5", None)),
        (with_field(ORU, "OBX", 5, b"^TEXT^XML^Base64^" + B64 + b"AAAA=AAA"), ("AE", 102, "OBX^1^5", None)),
        (with_field(ORU, "OBX", 5, b"^TEXT^XML^Base64^*" + B64), ("AE", 102, "OBX^1^5", None)),
        (
            with_field(ORU, "OBX", 5, b"^TEXT^XML^Base64^" + base64.b64encode(b"%PDF-1.4 ...")),
            ("AE", 102, "OBX^1^5", None),
        ),
        (with_field(ORU, "OBX", 2, b"ST"), ("AE", 100, "OBX", None)),
        (with_field(ORU, "OBX", 5, b"O", nth=2), ("AE", 103, "OBX^2^5", None)),
        (with_field(ORU, "OBX", 5, b"", nth=3), ("AE", 103, "OBX^3^5", None)),
        (with_field(ORU, "OBX", 5, b"y", nth=7), ("AE", 103, "OBX^7^5", None)),
        (after(ORU, "PRT", b"OBX|90|CE|MASQUE_PS^x||Y"), ("AE", 198, "OBX^3^5", None)),
        (with_field(ORU, "PRT", 4, b"RCT"), ("AE", 100, "PRT", None)),
        (with_field(ORU, "PRT", 5, b""), ("AE", 101, "PRT^1^5", None)),
        (with_field(ORU, "PRT", 8, b"Centre"), ("AE", 101, "PRT^1^8", None)),
        (after(ORU, "PRT", b"PRT||UC||SB^^participation|9^X|||Y^^^^^^FINEG^^^9"), ("AE", 198, "PRT", None)),
        (with_field(MDM, "TXA", 12, b""), ("AE", 101, "TXA^1^12", None)),
        (with_field(MDM, "TXA", 12, b"not an oid"), ("AE", 102, "TXA^1^12", None)),
        (with_field(MDM, "TXA", 2, b"11502-2"), ("AE", 103, "TXA^1^2", None)),
        (with_field(MDM_2, "TXA", 13, b""), ("AE", 101, "TXA^1^13", None)),
        (with_field(OMI, "IPC", 3, b""), ("AE", 101, "IPC^1^3", None)),
        (with_field(OMI, "IPC", 3, b"1.2.03"), ("AE", 102, "IPC^1^3", None)),
        (with_field(OMI, "IPC", 3, b"1." * 33 + b"1"), ("AE", 102, "IPC^1^3", None)),
        (after(OMI, "IPC", b"IPC|A|B|1.2.3"), ("AE", 198, "IPC^2^3", None)),
    ],
)
def test_what_is_wrong_is_answered_with_its_code_and_place(raw, expected):
    assert answer(raw) == expected


def test_two_documents_in_an_mdm_are_one_too_many():
    line = next(line for line in MDM.split(b"\r") if line.startswith(b"OBX|1|ED"))
    assert answer(after(MDM, "PRT", line))[:3] == ("AE", 198, "OBX^2")


def test_three_documents_in_an_oru_are_one_too_many():
    line = next(line for line in ORU.split(b"\r") if line.startswith(b"OBX|1|ED"))
    assert answer(after(after(ORU, "PRT", line), "PRT", line))[:3] == ("AE", 198, "OBX^2")


def test_documents_with_different_demands_are_rejected():
    line = next(line for line in ORU.split(b"\r") if line.startswith(b"OBX|1|ED"))
    assert answer(after(ORU, "PRT", line.replace(b"||||||F|", b"||||||D|"))) == ("AE", 207, "OBX^2^11", 906)


def test_errors_repeat_nothing_of_the_patient():
    for number, value in ((3, b"SECRET"), (5, b"SECRET^^^^^^L"), (7, b"SECRET"), (8, b"SECRET")):
        with pytest.raises(Hl7Error) as caught:
            read_ris_message(with_field(ORU, "PID", number, value))
        assert "SECRET" not in caught.value.message
