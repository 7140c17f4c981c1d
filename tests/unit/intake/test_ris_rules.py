"""Every rule, tolerance and error of hl7v2.md §§ 2 to 6 that a message shows by itself."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.errors import Ack, Hl7Error, Unreadable
from passevue.intake.received import Kind
from passevue.intake.ris import Demand, Participant, RisMessage, Visibility, read_ris_message
from passevue.intake.ris_identity import valid_matricule, valid_oid
from tests.peers.ris import (
    PAT_TROIS,
    Ask,
    Details,
    Doctor,
    Envelope,
    Exam,
    Site,
    invented_document_id,
    invented_exam,
    invented_person,
    mdm,
    omi,
    oru,
    report,
)

SAMPLES = Path(__file__).parents[2] / "samples" / "hl7v2"
CDA = report(PAT_TROIS, invented_exam(101), document_id=invented_document_id(101), pdf_bytes=700)
CDA_2 = report(
    PAT_TROIS,
    invented_exam(101),
    document_id=invented_document_id(101, 2),
    replaces=invented_document_id(101),
    version=2,
    pdf_bytes=700,
)
B64 = base64.b64encode(CDA)
ORU = oru(CDA, PAT_TROIS, envelope=Envelope(control_id="7"))
MDM = mdm(CDA, PAT_TROIS, envelope=Envelope(control_id="7"))
MDM_2 = mdm(CDA_2, PAT_TROIS, Ask.REPLACE, envelope=Envelope(control_id="7"))
OMI = omi(invented_exam(101), PAT_TROIS, envelope=Envelope(control_id="7"))


def with_field(raw: bytes, segment: str, number: int, value: bytes, nth: int = 1) -> bytes:
    """`raw` with one field replaced: the nth segment of that name."""
    lines = raw.split(b"\r")
    row = [n for n, line in enumerate(lines) if line.startswith(segment.encode() + b"|")][nth - 1]
    fields = lines[row].split(b"|")
    index = number - 1 if segment == "MSH" else number
    fields += [b""] * (index + 1 - len(fields))
    fields[index] = value
    lines[row] = b"|".join(fields)
    return b"\r".join(lines)


def without(raw: bytes, segment: str) -> bytes:
    return b"\r".join(line for line in raw.split(b"\r") if not line.startswith(segment.encode() + b"|"))


def after(raw: bytes, segment: str, line: bytes) -> bytes:
    lines = raw.split(b"\r")
    row = next(n for n, each in enumerate(lines) if each.startswith(segment.encode() + b"|"))
    return b"\r".join([*lines[: row + 1], line, *lines[row + 1 :]])


def answer(raw: bytes) -> tuple[str, int, str, int | None]:
    """What is answered: MSA-1, table 0357, ERR-2, table 0533."""
    with pytest.raises(Hl7Error) as caught:
        read_ris_message(raw)
    error = caught.value
    return str(error.ack), error.code, error.location, error.application_code


# What is asked


@pytest.mark.parametrize("build", [oru, mdm])
@pytest.mark.parametrize(
    ("ask", "demand"),
    [
        (Ask.NEW, Demand.NEW),
        (Ask.REPLACE, Demand.REPLACE),
        (Ask.VISIBILITY, Demand.VISIBILITY),
        (Ask.DELETE, Demand.DELETE),
    ],
)
def test_each_request_is_told_by_its_three_signals(build, ask, demand):
    message = read_ris_message(build(CDA_2, PAT_TROIS, ask))
    assert (message.kind, message.demand) == (Kind.REPORT, demand)


@pytest.mark.parametrize("orc_1", ["NW", "RO", "CA"])
@pytest.mark.parametrize("obx_11", ["F", "C", "D"])
def test_an_oru_whose_two_signals_differ_is_rejected(orc_1, obx_11):
    raw = oru(CDA, PAT_TROIS, orc_1=orc_1, obx_11=obx_11)
    if (orc_1, obx_11) in {("NW", "F"), ("RO", "C"), ("CA", "D")}:
        assert read_ris_message(raw).cda == CDA
    else:
        assert answer(raw) == ("AE", 207, "ORC^1^1", 906)


@pytest.mark.parametrize("event", ["T02", "T04", "T10"])
@pytest.mark.parametrize(("orc_1", "obx_11", "own"), [("NW", "F", "T02"), ("RO", "C", "T10"), ("CA", "D", "T04")])
def test_an_mdm_whose_event_differs_from_its_two_signals_is_rejected(event, orc_1, obx_11, own):
    raw = mdm(CDA_2, PAT_TROIS, event=event, orc_1=orc_1, obx_11=obx_11)
    if event == own:
        assert read_ris_message(raw).cda == CDA_2
    else:
        assert answer(raw) == ("AE", 207, "ORC^1^1", 906)


def test_the_incoherence_seen_in_exam_g1_maj_is_rejected():
    assert answer(oru(CDA_2, PAT_TROIS, Ask.VISIBILITY, obx_11="F"))[:3] == ("AE", 207, "ORC^1^1")


def test_an_omi_says_that_images_changed_or_were_removed():
    changed, removed = read_ris_message(OMI), read_ris_message(omi(invented_exam(5), PAT_TROIS, orc_1="CA"))
    assert (changed.kind, changed.demand) == (Kind.EXAM_CHANGED, Demand.IMAGES_CHANGED)
    assert (changed.study_uid, changed.accession_number) == (invented_exam(101).study_uid, "ACN101")
    assert removed.demand is Demand.IMAGES_REMOVED
    assert read_ris_message(omi(invented_exam(5), PAT_TROIS, orc_1="XX")).demand is Demand.IMAGES_CHANGED


# What is read


def test_a_new_report_is_read_whole():
    details = Details(
        flags={"INVISIBLE_PATIENT": "Y", "INVISIBLE_REP_LEGAUX": "Y", "CONNEXION_SECRETE": "Y"},
        patient_class="I",
        doctor=Doctor("801234564895", "Thomas", "Éric"),
        site=Site("1300017985", "Centre & Cie"),
    )
    assert read_ris_message(
        mdm(CDA_2, PAT_TROIS, Ask.REPLACE, details=details, envelope=Envelope(control_id="42"))
    ) == RisMessage(
        kind=Kind.REPORT,
        demand=Demand.REPLACE,
        control_id="42",
        sender="RIS-ESSAI|CENTRE-ESSAI",
        ins=("279035121518989", "1.2.250.1.213.1.4.10"),
        ipp=(("IPP101", "1.2.250.1.213.4.5.2.4"),),
        birth_name="PAT-TROIS",
        birth_given="DOMINIQUE",
        birth_date="19790328",
        sex="F",
        identity_reliability="VALI",
        patient_class="I",
        cda=CDA_2,
        document_id="1.2.250.1.213.4.5.4.101.2",
        replaced_document_id="1.2.250.1.213.4.5.4.101.1",
        participant=Participant(
            person_id="801234564895",
            family="Thomas",
            given="Éric",
            person_id_type="RPPS",
            structure_id="300017985",
            structure_name="Centre & Cie",
            structure_id_type="FINEG",
        ),
        visibility=Visibility(masque_ps=False, invisible_patient=True, invisible_representants_legaux=True),
        secret_connection=True,
        for_dmp=True,
    )


@pytest.mark.parametrize("separator", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("charset", ["UNICODE UTF-8", "8859/15", "8859/1", ""])
@pytest.mark.parametrize("number", range(1, 9))
def test_any_line_end_and_charset_give_the_same_person(separator, charset, number):
    person = invented_person(number)
    raw = oru(CDA, person, envelope=Envelope(charset=charset), separator=separator)
    message = read_ris_message(raw)
    assert message.ins == (person.ins, person.ins_oid)
    assert (message.birth_name, message.birth_given) == (person.family, person.given)
    assert message.cda == CDA


def test_a_message_of_real_size_is_read():
    cda = report(PAT_TROIS, [invented_exam(1), invented_exam(2)], document_id="1.2.3")
    raw = oru(cda, PAT_TROIS)
    assert 300_000 < len(raw) < 350_000
    assert read_ris_message(raw).cda == cda


@pytest.mark.parametrize("order", [0, 1])
def test_ins_and_ipp_are_told_by_type_and_oid_never_by_position(order):
    ids = [
        b"279035121518989^^^ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.10&ISO^INS^^20101207",
        b"IPP9^^^AUT-AFFECTATION&1.2.3.4&ISO^PI",
    ]
    ids = ids[::-1] if order else ids
    more = b"62702897707386938^^^AUT-AFFECTATION^PI~NSS9^^^X&1.2.9&ISO^SS"  # a PI without OID, and another type
    message = read_ris_message(with_field(ORU, "PID", 3, b"~".join([*ids, more])))
    assert message.ins == ("279035121518989", "1.2.250.1.213.1.4.10")
    assert message.ipp == (("IPP9", "1.2.3.4"),)


@pytest.mark.parametrize("arc", ["8", "9", "10", "11"])
def test_every_oid_of_the_ins_is_known(arc):
    patient = replace(PAT_TROIS, ins_oid=f"1.2.250.1.213.1.4.{arc}")
    assert read_ris_message(oru(CDA, patient)).ins == (patient.ins, patient.ins_oid)


def test_the_name_of_type_l_is_the_birth_name_wherever_it_stands():
    names = b"USAGE^DOMI^^^^^D~PAT-TROIS^DOMINIQUE^DOMINIQUE^^^^L"
    assert read_ris_message(with_field(ORU, "PID", 5, names)).birth_name == "PAT-TROIS"


def test_the_tilde_that_is_none_seen_in_pid_11_harms_nothing():
    assert read_ris_message(with_field(ORU, "PID", 11, "^^^^^^BDL^^63220˜28 Av^^PARIS".encode())).sex == "F"


@pytest.mark.parametrize(
    ("pid_32", "read"),
    [(b"VALI", "VALI"), (b"PROV", "PROV"), (b"VALI~DOUB", "DOUB"), (b"", ""), (b"VALI~VALI", "VALI")],
)
def test_an_identity_is_no_better_than_the_worst_that_is_said_of_it(pid_32, read):
    assert read_ris_message(with_field(ORU, "PID", 32, pid_32)).identity_reliability == read


@pytest.mark.parametrize(
    "date", [b"19790328", b"197903", b"1979", b"19790000", b"19790328120000", b"197903281200+0100"]
)
def test_birth_dates_may_be_partial_as_those_of_the_ins(date):
    assert read_ris_message(with_field(ORU, "PID", 7, date)).birth_date == date.decode()


@pytest.mark.parametrize(
    "code", ["INVISIBLE_REP_LEGAUX", "INVISIBLE_REPRESENTANTS_LEGAUX", "INVISIBLE_REPRENSANTS_LEGAUX"]
)
def test_older_spellings_of_flags_are_read(code):
    raw = ORU.replace(b"INVISIBLE_REP_LEGAUX^libell\xc3\xa9^MetaDMPMSS||N", code.encode() + b"^autre texte||Y")
    assert read_ris_message(raw).visibility == Visibility(invisible_representants_legaux=True)


def test_the_older_spelling_of_the_visibility_change_is_read():
    raw = oru(CDA_2, PAT_TROIS, Ask.VISIBILITY).replace(b"MODIF_CONF_CODE", b"MODIF_CONFIDENTIALITYCODE")
    assert read_ris_message(raw).demand is Demand.VISIBILITY


def test_flags_are_read_by_code_in_any_order_and_without_coding_system():
    lines = ORU.split(b"\r")
    flags = [line for line in lines if b"MetaDMPMSS" in line]
    others = [line for line in lines if b"MetaDMPMSS" not in line and line]
    shuffled = [flag.replace(b"^^expandedYes-NoIndicator", b"") for flag in reversed(flags)]
    raw = b"\r".join([*others, *shuffled]).replace(b"MASQUE_PS^libell\xc3\xa9^MetaDMPMSS||N", b"MASQUE_PS||Y")
    assert read_ris_message(raw).visibility == Visibility(masque_ps=True)


def test_a_missing_flag_means_no():
    raw = b"\r".join(line for line in ORU.split(b"\r") if b"MASQUE_PS" not in line and b"DESTDMP" not in line)
    message = read_ris_message(raw)
    assert message.visibility == Visibility()
    assert not message.for_dmp


def test_a_report_that_is_not_for_the_dmp_needs_neither_ins_nor_participant():
    raw = oru(CDA, PAT_TROIS, details=Details(flags={"DESTDMP": "N"}, with_prt=False))
    message = read_ris_message(with_field(raw, "PID", 3, b"IPP9^^^A&1.2.3&ISO^PI"))
    assert (message.for_dmp, message.ins, message.participant) == (False, None, None)


def test_other_participants_and_mail_bodies_are_passed_over():
    more = (
        b"PRT||UC||RCT^^participation|1^X|||||||||^^X.400^a@b.mssante.fr\r"
        b"PRT||UC||REPLY^^participation|2^Y\r"
        b"OBX|30|ED|CORPSMAIL_PS^Corps^MetaDMPMSS||^TEXT^^Base64^QUJD||||||F|\r"
        b"PRT||UC||SB^^participation|3^Z|||Z^^^^^^FINEG^^^3"
    )
    assert read_ris_message(after(ORU, "PRT", more)).participant.person_id == "801234560801"


def test_a_device_may_ask_for_the_publication():
    raw = with_field(with_field(ORU, "PRT", 5, b""), "PRT", 10, b"APPAREIL-1")
    participant = read_ris_message(raw).participant
    assert (participant.person_id, participant.device_id) == ("", "APPAREIL-1")


@pytest.mark.parametrize(
    ("txa_12", "read"),
    [
        (b"1.2.250.1.213.4.5.4.4072", "1.2.250.1.213.4.5.4.4072"),
        (b"1.2.250.1.213.4.5.4.4072^Organisation-Y", "1.2.250.1.213.4.5.4.4072"),
        (b"abc^^1.2.250.1^ISO", "1.2.250.1^abc"),
        (b"abc^Organisation-Y^1.2.250.1^ISO", "1.2.250.1^abc"),
        (b"90E1C8EC-F951-4B26-A305-A34848818DD6", "90E1C8EC-F951-4B26-A305-A34848818DD6"),
    ],
)
def test_document_ids_come_in_two_forms(txa_12, read):
    assert read_ris_message(with_field(MDM, "TXA", 12, txa_12)).document_id == read


def test_base64_may_be_wrapped_by_its_encoder():
    for wrapped in (b"\n".join([B64[:76], B64[76:]]), b" ".join([B64[:40], B64[40:]]), B64[:76] + b"\r\n" + B64[76:]):
        assert read_ris_message(ORU.replace(B64, wrapped)).cda == CDA


@pytest.mark.parametrize(
    ("was", "now"), [(b"TEXT^XML^Base64", b"Text^xml^BASE64"), (b"TEXT^XML^Base64", b"^XML^base64")]
)
def test_components_of_the_document_are_compared_without_case(was, now):
    assert read_ris_message(ORU.replace(was, now)).cda == CDA


def test_segments_and_fields_that_the_volet_does_not_list_are_passed_over():
    raw = after(after(after(ORU, "MSH", b"SFT|X"), "PID", b"PD1||x\rNK1|1|a"), "PV1", b"ZFU|1\rPV2||y")
    assert read_ris_message(with_field(raw, "PID", 40, b"x")).cda == CDA


def test_an_oru_may_hold_the_report_at_two_levels():
    line = next(line for line in ORU.split(b"\r") if line.startswith(b"OBX|1|ED"))
    other = line.replace(B64, base64.b64encode(CDA_2))
    message = read_ris_message(after(ORU, "PRT", other))
    assert (message.cda, message.more_cdas) == (CDA, (CDA_2,))


@pytest.mark.parametrize("version", [b"2.5", b"2.5^FRA^2.11"])
def test_the_version_may_name_the_french_profile(version):
    assert read_ris_message(with_field(ORU, "MSH", 12, version)).cda == CDA


@pytest.mark.parametrize(
    "profile", [b"2.1^CISIS_CDA_HL7_V2", b"2.0^CISIS_CDA_HL7_V2", b"", b"2.11^IHE_FRANCE-2.11-PAM"]
)
def test_version_2_of_the_volet_or_none_is_taken(profile):
    assert read_ris_message(with_field(ORU, "MSH", 21, profile)).cda == CDA


# What is refused, each with its exact answer


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


# Samples


def test_the_counter_example_of_2022_is_refused_for_its_version_and_then_for_more():
    raw = (SAMPLES / "patient1.hl7").read_bytes()
    assert answer(raw) == ("AE", 203, "MSH^1^12", None)
    assert answer(raw.replace(b"|P|2.3.1|", b"|P|2.5|")) == ("AE", 100, "PID", None)


def test_the_mdm_of_the_volet_is_refused_for_its_dummy_payload_alone():
    raw = (SAMPLES / "message_MDM_CR_Radio_INIT_N1.er7").read_bytes()
    assert answer(raw) == ("AE", 102, "OBX^1^5", None)
    message = read_ris_message(with_field(raw, "OBX", 5, b"^text^XML^Base64^" + B64))
    assert message.demand is Demand.NEW
    assert message.ins == ("279035121518989", "1.2.250.1.213.1.4.10")
    assert message.participant is not None


def test_the_omi_of_exam_w_says_that_images_were_removed():
    message = read_ris_message((SAMPLES / "CR_W_Suppression-OMI.hl7").read_bytes())
    assert message.demand is Demand.IMAGES_REMOVED
    assert (message.accession_number, message.study_uid) == ("ACN124", "1.2.250.1.213.4.5.2.1.124")
    assert message.control_id == "001"
    assert message.ipp == (("IPP101", "1.2.250.1.213.4.5.2.4"),)


def test_the_informative_omi_is_taken_though_it_has_few_traits():
    message = read_ris_message((SAMPLES / "OMI_O23-ImagingOrder.hl7").read_bytes())
    assert message.demand is Demand.IMAGES_CHANGED
    assert (message.accession_number, message.study_uid) == ("105234751", "1.2.250.1.213.4.5.2.1.101")
    assert (message.birth_date, message.sex, message.birth_name) == ("", "M", "Doe")


# hl7v2.md § 7.1 and 7.2, retyped with a real payload; only the labels of the flags are shortened.
EXAM_K = (
    "MSH|^~\\&|ANS_HL7v2_Application_A|ANS_HL7v2_Facility_A|{{applicationReceiver}}|{{facilityReceiver}}|{{idMessage}}"
    "||ORU^R01^ORU_R01|{{idMessage}}|P|2.5|||||FRA|UNICODE UTF-8|||2.1^CISIS_CDA_HL7_V2\r"
    "PID|||279035121518989^^^ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.10&ISO^INS^^~IPP101^^^AUT-AFFECTATION&"
    "1.2.250.1.213.4.5.2.4&ISO^PI||PAT-TROIS^DOMINIQUE^DOMINIQUE^^^^L~PAT-TROIS^^^^^^D||19790328|F|||"
    "^^^^^^BDL^^63220~28 Av de Breteuil^Escalier A^PARIS^^75007^FRA^H||||||||||||C||||||||N|VALI\r"
    "PV1|1|I|UFNEPH||||||||||||||||000897406^^^AUT-AFFECTATION&120456789&M^VN^^20210409\r"
    "ORC|NW|\r"
    "OBR|1|984375862^EntityNAME|09011600123^EntityNAME|18748-4^CR d'imagerie médicale^LN||||||||||||"
    "899700367909^DOC0036790^KIT^^^DR^^^^D^^^RPPS^||09011600123|||||||F|||||||899700367909&DOC0036790&KIT\r"
    "OBX|1|ED|18748-4^CR d'imagerie médicale^LN||^TEXT^XML^Base64^{payload}||||||F|\r"
    "PRT||UC||SB^^participation|801234564895^Eric^Thomas^^^^^^ASIP-SANTE- PS&1.2.250.1.71.4.2.1&ISO^D^^^RPPS|||"
    "Sending Facility^^^^^ASIP-SANTE-ST&1.2.250.1.71.4.2.2&ISO^FINEG^^^300017985\r"
    "OBX|2|CE|MASQUE_PS^a^MetaDMPMSS||N^^expandedYes-NoIndicator||||||F|\r"
    "OBX|3|CE|INVISIBLE_PATIENT^a^MetaDMPMSS||Y^^expandedYes-NoIndicator||||||F|\r"
    "OBX|4|CE|INVISIBLE_REP_LEGAUX^a^MetaDMPMSS||Y^^expandedYes-NoIndicator||||||F|\r"
    "OBX|5|CE|CONNEXION_SECRETE^a^MetaDMPMSS||N^^expandedYes-NoIndicator||||||F|\r"
    "OBX|6|CE|MODIF_CONF_CODE^a^MetaDMPMSS||N^^expandedYes-NoIndicator||||||F|\r"
    "OBX|7|CE|DESTDMP^a^MetaDMPMSS||Y^^expandedYes-NoIndicator||||||F|\r"
)
EXAM_G1_MAJ = (
    "MSH|^~\\&|A|B|C|D|{{idMessage}}||MDM^T10^MDM_T02|{{idMessage}}|P|2.6|||||FRA|UNICODE UTF-8|||"
    "2.1^CISIS_CDA_HL7_V2\r"
    "EVN||20211005152908|||PAT^ADMIN PAT-Cpage I^ADM PAT^^^^^^CPAGE&1.2.250.1.154&ISO^U^^^RI|20211005152908\r"
    + EXAM_K.split("\r")[1]
    + "\rPV1|1|I|UFNEPH||||||||||||||||000897406^^^AUT-AFFECTATION&120456789&M^VN^^20210409\r"
    "ORC|RO|\r"
    "OBR|1|||18748-4^CR d'imagerie médicale^LN|\r"
    "TXA|1|18748-4|TEXT|202212160932||||||||1.2.250.1.213.4.5.4.4072|1.2.250.1.213.4.5.4.407||||AU|||||801234564895\r"
    "OBX|1|ED|18748-4^CR d'imagerie médicale^LN||^text^XML^Base64^{payload}||||||C|\r"
    "PRT||UC||SB^^participation|801234564895^Eric^Thomas^^^^^^ASIP-SANTE- PS&1.2.250.1.71.4.2.1&ISO^D^^^RPPS|||"
    "Centre de radiologie Ambroise^^^^^ASIP-SANTE-ST&1.2.250.1.71.4.2.2&ISO^FINEG^^^750803447\r"
    "OBX|2|CWE|MASQUE_PS^a^MetaDMPMSS||N^^expandedYes-NoIndicator||||||F|\r"
    "OBX|3|CWE|INVISIBLE_PATIENT^a^MetaDMPMSS||N^^expandedYes-NoIndicator||||||F|\r"
    "OBX|4|CWE|INVISIBLE_REP_LEGAUX^a^MetaDMPMSS||N^^expandedYes-NoIndicator||||||F|\r"
    "OBX|6|CWE|MODIF_CONF_CODE^a^MetaDMPMSS||Y^^expandedYes-NoIndicator||||||F|\r"
    "OBX|7|CWE|DESTDMP^a^MetaDMPMSS||Y^^expandedYes-NoIndicator||||||F|\r"
)


def test_the_report_of_exam_k_is_read():
    message = read_ris_message(EXAM_K.replace("{payload}", B64.decode()).encode())
    assert message.demand is Demand.NEW
    assert message.control_id == "{{idMessage}}"
    assert message.visibility == Visibility(invisible_patient=True, invisible_representants_legaux=True)
    assert message.participant == Participant(
        "801234564895", "Eric", "Thomas", "RPPS", "300017985", "Sending Facility", "FINEG"
    )
    assert (message.cda, message.patient_class) == (CDA, "I")


def test_the_visibility_change_of_exam_g1_is_read():
    message = read_ris_message(EXAM_G1_MAJ.replace("{payload}", B64.decode()).encode())
    assert message.demand is Demand.VISIBILITY
    assert message.visibility == Visibility()
    assert (message.document_id, message.replaced_document_id) == (
        "1.2.250.1.213.4.5.4.4072",
        "1.2.250.1.213.4.5.4.407",
    )


# Values


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("279035121518989", True),
        ("274075176079430", True),
        ("279035121518988", False),
        ("27903512151898", False),
        ("2790351215189890", False),
        ("27903512151898X", False),
        ("٢79035121518989", False),
        ("", False),
    ],
)
def test_the_key_of_a_matricule_is_checked(value, valid):
    assert valid_matricule(value) is valid


def test_matricules_of_corsica_are_valid():
    people = [invented_person(number) for number in range(60)]
    assert any("2A" in person.ins for person in people)
    assert any("2B" in person.ins for person in people)
    assert all(valid_matricule(person.ins) for person in people)


@pytest.mark.parametrize(
    ("text", "valid"), [("1.2.3", True), ("1.2.03", False), ("3.1", False), ("1", False), ("1..2", False)]
)
def test_oids_are_told_from_what_is_none(text, valid):
    assert valid_oid(text) is valid


# Any input


@settings(max_examples=200)
@given(st.data())
def test_a_message_with_any_field_spoilt_is_read_or_refused_with_our_error(data):
    lines = data.draw(st.sampled_from([ORU, MDM_2, OMI])).split(b"\r")
    row = data.draw(st.integers(0, len(lines) - 2))
    fields = lines[row].split(b"|")
    index = data.draw(st.integers(0, len(fields) - 1))
    noise = st.one_of(
        st.binary(max_size=30), st.sampled_from([b"", b"^", b"~", b"\\", b"&&&", b"^^^^^", b"<x>", b"%s"])
    )
    fields[index] = data.draw(noise)
    lines[row] = b"|".join(fields)
    try:
        message = read_ris_message(b"\r".join(lines))
    except (Hl7Error, Unreadable) as err:
        assert not isinstance(err, Hl7Error) or err.ack in {Ack.AE, Ack.AR}  # noqa: PT017
    else:
        assert message.study_uid or message.cda


@given(
    st.sampled_from(["<script>", "'; DROP TABLE x;--", "${jndi:x}", "=cmd()", "%n%s", "\u202eabc", "a\u200bb", "$(id)"])
)
def test_injections_in_names_are_text(text):
    message = read_ris_message(oru(CDA, replace(PAT_TROIS, family=text)))
    assert message.birth_name == text


def test_an_exam_may_have_any_accession_text():
    exam = Exam("1.2.3", "A|C^N~1\\2&3", "O")
    assert read_ris_message(omi(exam, PAT_TROIS)).accession_number == "A|C^N~1\\2&3"
