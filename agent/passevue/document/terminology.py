"""Value sets and labels that the box writes itself. What the report labels keeps the report's label.

Sources: JDV_ModaliteAcquisition_CISIS with DICOM's meanings (CID 29), TRE_R209-TypeActivite for the codes that PV1-2
maps to (JDV_J59), TRE_A07-StatutVisibiliteDocument.
"""

from passevue.document.header import Code
from passevue.intake.ris_values import Visibility

MODALITY_SCHEME = "1.2.250.1.213.1.1.5.618"
REGION_SCHEME = "1.2.250.1.213.1.1.5.695"
CONTENT_TYPE_SCHEME = "1.2.250.1.213.2.2"
VISIBILITY_SCHEME = "1.2.250.1.213.1.1.4.13"

MODALITIES = {
    "AR": "Autorefraction",
    "BDUS": "Ultrasound Bone Densitometry",
    "BI": "Biomagnetic Imaging",
    "BMD": "Bone Mineral Densitometry",
    "CR": "Computed Radiography",
    "CT": "Computed Tomography",
    "DG": "Diaphanography",
    "DMS": "Dermoscopy",
    "DX": "Digital Radiography",
    "ECG": "Electrocardiography",
    "EEG": "Electroencephalography",
    "EMG": "Electromyography",
    "EOG": "Electrooculography",
    "EPS": "Cardiac Electrophysiology",
    "ES": "Endoscopy",
    "GM": "General Microscopy",
    "HD": "Hemodynamic Waveform",
    "IO": "Intra-oral Radiography",
    "IVOCT": "Intravascular Optical Coherence Tomography",
    "IVUS": "Intravascular Ultrasound",
    "KER": "Keratometry",
    "LEN": "Lensometry",
    "LS": "Laser Scan",
    "MG": "Mammography",
    "MR": "Magnetic Resonance",
    "NM": "Nuclear Medicine",
    "OAM": "Ophthalmic Axial Measurements",
    "OCT": "Optical Coherence Tomography",
    "OP": "Ophthalmic Photography",
    "OPM": "Ophthalmic Mapping",
    "OPT": "Ophthalmic Tomography",
    "OPTBSV": "Ophthalmic Tomography B-scan Volume Analysis",
    "OPTENF": "Ophthalmic Tomography En Face",
    "OPV": "Ophthalmic Visual Field",
    "OSS": "Optical Surface Scanner",
    "POS": "Position Sensor",
    "PT": "Positron emission tomography",
    "PX": "Panoramic X-Ray",
    "RESP": "Respiratory Waveform",
    "RF": "Radiofluoroscopy",
    "RG": "Radiographic imaging",
    "RTIMAGE": "RT Image",
    "SM": "Slide Microscopy",
    "SRF": "Subjective Refraction",
    "TG": "Thermography",
    "US": "Ultrasound",
    "VA": "Visual Acuity",
    "XA": "X-Ray Angiography",
    "XC": "External-camera Photography",
}

_CONTENT_TYPES = {
    "03": "Hospitalisation complète (non compris hospitalisation de semaine)",
    "07": "Consultation Soins Externes",
    "19": "Traitement et Cure Ambulatoire",
    "97": "Type d'activité indifférencié",
}
_PATIENT_CLASSES = {"I": "03", "O": "07", "E": "07", "R": "19", "N": "97"}


def modality(code: str) -> Code:
    """One code of MODALITIES as eventCodeList has it."""
    return Code(code, MODALITY_SCHEME, MODALITIES[code])


def content_type(patient_class: str) -> Code:
    """contentTypeCode from PV1-2 (hl7v2.md § 3.4); what PV1-2 does not say is undifferentiated."""
    code = _PATIENT_CLASSES.get(patient_class, "97")
    return Code(code, CONTENT_TYPE_SCHEME, _CONTENT_TYPES[code])


MASQUE_PS = Code("MASQUE_PS", VISIBILITY_SCHEME, "Masqué aux professionnels de santé")
INVISIBLE_PATIENT = Code("INVISIBLE_PATIENT", VISIBILITY_SCHEME, "Non visible par le patient")
INVISIBLE_REPRESENTANTS_LEGAUX = Code(
    "INVISIBLE_REPRESENTANTS_LEGAUX", VISIBILITY_SCHEME, "Non visible par les représentants légaux du patient"
)


def visibility_codes(visibility: Visibility) -> tuple[Code, ...]:
    """The confidentialityCodes that go after `N`."""
    wanted = (
        (visibility.masque_ps, MASQUE_PS),
        (visibility.invisible_patient, INVISIBLE_PATIENT),
        (visibility.invisible_representants_legaux, INVISIBLE_REPRESENTANTS_LEGAUX),
    )
    return tuple(code for asked, code in wanted if asked)
