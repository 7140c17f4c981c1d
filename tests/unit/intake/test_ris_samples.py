"""The messages that the ANS published, as they are and as they were meant."""

from pathlib import Path

from passevue.intake.ris import Demand, Participant, Visibility, read_ris_message
from tests.unit.intake.ris_messages import B64, CDA, answer, with_field

SAMPLES = Path(__file__).parents[2] / "samples" / "hl7v2"


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
