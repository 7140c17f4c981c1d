"""What a message of the RIS asks and says: every rule and tolerance of hl7v2.md §§ 2 to 5 that it shows by itself."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.errors import Ack, Hl7Error, Unreadable
from passevue.intake.received import Kind
from passevue.intake.ris import Demand, Participant, RisMessage, Visibility, read_ris_message
from tests.peers.ris import (
    PAT_TROIS,
    Ask,
    Details,
    Doctor,
    Envelope,
    Exam,
    Site,
    invented_exam,
    invented_person,
    mdm,
    omi,
    oru,
    report,
)
from tests.unit.intake.ris_messages import B64, CDA, CDA_2, MDM, MDM_2, OMI, ORU, after, answer, with_field

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
