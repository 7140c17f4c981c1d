"""XDM archives: the published one comes in, ours goes out and comes back (xdm.md)."""

import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from pydicom import dcmread
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from passevue.document.kos import KosIdentity, build_kos
from passevue.document.patient import Identifier, Ins
from passevue.document.record import VISIBLE, Record, record_of
from passevue.document.submission_set import SignatureEntry, publication_metadata
from passevue.document.xdm import ArchivedKos, KosVersion, Sender, export_xdm, import_xdm
from passevue.document.xdm_export import SETS_PER_FILE
from passevue.document.xdm_metadata import read_metadata
from passevue.errors import StoreError, Unreadable
from tests.unit.document.given import CDA_NEW, IDENTITY, MAKER, NOW, SAMPLES, exam, report, series, study
from tests.unit.document.test_submission_set import entry as kos_entry
from tests.unit.document.test_submission_set import facts

SAMPLE = SAMPLES / "xdm/KA202401"
SET = "KA202401/IHE_XDM/SS000001"
STUDY = "1.3.6.1.4.1.5962.99.1.3711725607.829148806.1687338938407.3.12"
SENDER = Sender("1750803447", "Centre <Ambroise>", person="DR KIT")
UUID = "10b545ea-725c-446d-9b95-8aeb444eddf3"


def members() -> dict[str, bytes]:
    return {
        path.relative_to(SAMPLE.parent).as_posix(): path.read_bytes()
        for path in sorted(SAMPLE.rglob("*"))
        if path.is_file()
    }


def zipped(folder: Path, content: dict[str, bytes]) -> Path:
    path = folder / "in.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def changed(folder: Path, changes: dict[str, bytes | None]) -> Path:
    """The sample with members replaced, added, or left out (None)."""
    content = {**members(), **{f"{SET}/{name}": data for name, data in changes.items()}}
    return zipped(folder, {name: data for name, data in content.items() if data is not None})


def with_metadata(old: str, new: str) -> dict[str, bytes | None]:
    metadata = members()[f"{SET}/METADATA.XML"]
    assert old.encode() in metadata
    return {"METADATA.XML": metadata.replace(old.encode(), new.encode())}


def archived(number: int = 1, **changes: Any) -> ArchivedKos:
    """Entry of one of our own publications."""
    identity = replace(IDENTITY, sop_instance_uid=f"2.25.{number}00")
    images = changes.pop("images", None) or study()
    kos = build_kos(images, report(), exam(), MAKER, identity, changes.pop("now", NOW))
    signature = SignatureEntry("2.25.3", b"<Signature/>\n")
    facts_of_kos = kos_entry(unique_id=identity.sop_instance_uid, content=kos)
    ins, ipp = report().patient.ins, report().patient.ipp
    assert ins is not None
    whole = ArchivedKos(
        study_uid=exam().study_uid,
        kos=kos,
        metadata=publication_metadata(report(), exam(), facts(), facts_of_kos, signature),
        signature=signature.content,
        report_id=report().id,
        ins=ins,
        ipp=ipp,
        entry_uuid=UUID,
    )
    return replace(whole, **changes)


def test_the_published_archive_is_taken(tmp_path: Path) -> None:
    found = import_xdm(zipped(tmp_path, members()), {}, "test")
    (entry,) = found.taken
    assert entry.study_uid == STUDY
    assert entry.kos == members()[f"{SET}/KOS_1_1.DCM"]
    assert entry.signature == members()[f"{SET}/SIGN_1.XML"]
    assert entry.report_id == Identifier("1.2.250.1.213.1.1.6", "A7102400008_6")
    assert entry.ins == Ins("162018885045327", "1.2.250.1.213.1.4.10")
    assert entry.ipp == Identifier("2.25.308558515749272265601084678280819623195.3.2.1", "627028977073869316")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", entry.entry_uuid)
    assert (found.skipped, found.refused) == ((), ())
    assert [warning.reason for warning in found.warnings] == ["signature-hash-differs"]  # its certificate was cut


def test_an_archive_whose_root_is_ihe_xdm(tmp_path: Path) -> None:
    bare = {name.removeprefix("KA202401/"): data for name, data in members().items()}
    assert [entry.study_uid for entry in import_xdm(zipped(tmp_path, bare), {}, "test").taken] == [STUDY]


def test_several_months_in_one_archive(tmp_path: Path) -> None:
    more = {name.replace("KA202401", "KA202402"): data for name, data in members().items()}
    found = import_xdm(zipped(tmp_path, {**members(), **more}), {}, "test")
    assert len(found.taken) == 1
    assert [(each.folder, each.reason) for each in found.skipped] == [
        ("KA202402/IHE_XDM/SS000001/", "same-or-newer-known")
    ]


def test_the_bare_request_with_prefixes_that_nobody_declared(tmp_path: Path) -> None:
    """The published informative sample: an empty first line, `ns3:` undeclared."""
    metadata = members()[f"{SET}/METADATA.XML"]
    start, end = metadata.index(b"<ns3:SubmitObjectsRequest>"), metadata.index(b"</ns3:SubmitObjectsRequest>") + 27
    broken = b'\n<?xml version="1.0" encoding="UTF-8"?>' + metadata[start:end]
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(broken)
    (entry,) = import_xdm(changed(tmp_path, {"METADATA.XML": broken}), {}, "test").taken
    assert entry.study_uid == STUDY
    (exported,) = export_xdm([entry], tmp_path, SENDER)
    assert import_xdm(exported, {}, "test").taken[0].kos == entry.kos


def test_documents_are_found_by_their_uri_and_by_name_without_one(tmp_path: Path) -> None:
    renamed: dict[str, bytes | None] = {
        **with_metadata("SS000001/KOS_1_1.DCM", "SS000001/DOC1"),
        "KOS_1_1.DCM": b"another file whose name begins so",
        "DOC1": members()[f"{SET}/KOS_1_1.DCM"],
    }
    assert len(import_xdm(changed(tmp_path, renamed), {}, "test").taken) == 1
    nameless = with_metadata("SS000001/KOS_1_1.DCM", "")
    assert len(import_xdm(changed(tmp_path, nameless), {}, "test").taken) == 1


def test_a_uri_never_leads_out_of_its_set(tmp_path: Path) -> None:
    metadata = with_metadata("SS000001/KOS_1_1.DCM", "../INDEX.HTM")
    assert len(import_xdm(changed(tmp_path, metadata), {}, "test").taken) == 1  # found by its name


def test_an_archive_without_cr_txt_still_tells_the_patient(tmp_path: Path) -> None:
    (entry,) = import_xdm(changed(tmp_path, {"CR.TXT": None}), {}, "test").taken
    assert entry.report_id is None
    assert entry.ipp is None
    assert entry.ins == Ins("162018885045327", "1.2.250.1.213.1.4.10")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"METADATA.XML": None}, "METADATA"),
        ({"METADATA.XML": b"<a/>"}, "SubmitObjectsRequest"),
        ({"METADATA.XML": b"<a"}, "well-formed"),
        ({"METADATA.XML": b'<!DOCTYPE a [<!ENTITY b "x">]><c:a>&b;</c:a>'}, "DTD"),
        ({"KOS_1_1.DCM": b"other"}, "hash"),
        ({"KOS_1_1.DCM": None}, "no KOS"),
        (with_metadata("<Value>5164</Value>", "<Value>5165</Value>"), "hash"),
        (with_metadata("5a4009cca445f28810fd34dc8e3526cbe9814664", ""), "hash"),
    ],
)
def test_these_refuse_the_archive_whole(tmp_path: Path, changes: dict[str, bytes | None], complaint: str) -> None:
    good = {name.replace("SS000001", "SS000000"): data for name, data in members().items()}
    path = changed(tmp_path, changes)
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in good.items():
            if "SS000000" in name:
                archive.writestr(name, data)
    with pytest.raises(Unreadable, match=complaint):
        import_xdm(path, {}, "test")


def cr(**changes: str) -> bytes:
    names = ("root", "extension", "ins", "oid", "ipp", "ipp_root")
    fields = dict(zip(names, members()[f"{SET}/CR.TXT"].decode().split(";"), strict=True))
    return ";".join({**fields, **changes}.values()).encode()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"CR.TXT": cr(ins="279035121518989")}, "ins-differs"),
        ({"CR.TXT": cr(oid="1.2.3")}, "ins-wrong"),
        ({"CR.TXT": cr(oid="1.2.250.1.213.1.4.8")}, "ins-of-other-realm"),
        ({"CR.TXT": b"one;two"}, "cr-unreadable"),
        ({"CR.TXT": b"\xff\xfe;;;;;"}, "cr-unreadable"),
        (
            with_metadata(
                'value="1.3.2.751468943.3.1234.99352.240116151112.1.1.1"', 'value="1.3.2.751468943.3.1234.99352.2"'
            ),
            "unique-id-differs",
        ),
    ],
)
def test_these_refuse_their_set_alone(tmp_path: Path, changes: dict[str, bytes | None], reason: str) -> None:
    found = import_xdm(changed(tmp_path, changes), {}, "test")
    assert found.taken == ()
    assert [each.reason for each in found.refused] == [reason]


def test_a_newer_kos_replaces_and_an_older_one_is_left(tmp_path: Path) -> None:
    path = zipped(tmp_path, members())
    here = KosVersion(1, "20240116151112")
    assert import_xdm(path, {STUDY: here}, "test").skipped[0].reason == "same-or-newer-known"
    assert import_xdm(path, {STUDY: KosVersion(2, "20230101")}, "test").taken == ()
    assert len(import_xdm(path, {STUDY: KosVersion(1, "20240116151111")}, "test").taken) == 1
    assert len(import_xdm(path, {STUDY: KosVersion(0, "20990101")}, "test").taken) == 1


def test_ours_goes_out_and_comes_back(tmp_path: Path) -> None:
    (path,) = export_xdm([archived()], tmp_path, SENDER)
    assert path.name == "KA202611.zip"
    found = import_xdm(path, {}, "test")
    assert (found.skipped, found.refused, found.warnings) == ((), (), ())
    (entry,) = found.taken
    assert replace(entry, metadata=b"") == replace(archived(), metadata=b"")


def test_the_manifest_of_a_large_study_comes_back(tmp_path: Path) -> None:
    """More instances than a note from the cabinet may name."""
    sent = archived(images=study(series(1, 10_000)))
    (path,) = export_xdm([sent], tmp_path, SENDER)
    found = import_xdm(path, {}, "test")
    assert found.refused == ()
    assert [entry.kos for entry in found.taken] == [sent.kos]


def test_the_layout_of_what_goes_out(tmp_path: Path) -> None:
    january = archived(2, now=NOW.replace(month=1), study_uid="1.2.3")
    paths = export_xdm([archived(), january, archived(3, signature=b"")], tmp_path, SENDER)
    assert [path.name for path in paths] == ["KA202611.zip", "KA202601.zip"]
    with zipfile.ZipFile(paths[0]) as archive:
        assert sorted(archive.namelist()) == [
            "KA202611/IHE_XDM/SS000001/CR.TXT",
            "KA202611/IHE_XDM/SS000001/KOS_1_1.DCM",
            "KA202611/IHE_XDM/SS000001/METADATA.XML",
            "KA202611/IHE_XDM/SS000001/SIGN_1.XML",
            "KA202611/IHE_XDM/SS000002/CR.TXT",
            "KA202611/IHE_XDM/SS000002/KOS_2_1.DCM",
            "KA202611/IHE_XDM/SS000002/METADATA.XML",
            "KA202611/INDEX.HTM",
            "KA202611/README.TXT",
        ]
        index = archive.read("KA202611/INDEX.HTM")
        readme = archive.read("KA202611/README.TXT").decode()
        cr_txt = archive.read("KA202611/IHE_XDM/SS000001/CR.TXT")
        metadata = archive.read("KA202611/IHE_XDM/SS000001/METADATA.XML")
        names = [name.rpartition("/")[2] for name in archive.namelist()]
    assert all(name.isupper() and len(name.partition(".")[0]) <= 8 for name in names)
    assert b"Centre &lt;Ambroise&gt; (1750803447)" in index
    assert etree.fromstring(index.partition(b'strict.dtd">')[2]).tag.endswith("html")
    assert "    . Organisme : Centre <Ambroise> (1750803447)" in readme
    assert "KOS_1_1.DCM" in readme
    assert cr_txt == (
        b"1.2.250.1.213.1.1.1.45.2;;279035121518989;1.2.250.1.213.1.4.10;1234567890121;1.2.3.4.567.8.9.10"
    )
    assert metadata.startswith(b"<?xml")
    assert etree.fromstring(metadata).tag == "{urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0}SubmitObjectsRequest"
    kos, signature = read_metadata(metadata)
    assert kos is not None
    assert signature is not None
    assert (kos.uri, kos.entry_uuid) == ("SS000001/KOS_1_1.DCM", UUID)
    assert signature.uri == "SS000001/SIGN_1.XML"


def test_going_out_twice_gives_the_same_bytes_and_says_each_addition_once(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    (path,) = export_xdm([archived()], first, SENDER)
    (again,) = export_xdm(import_xdm(path, {}, "test").taken, second, SENDER)
    assert again.read_bytes() == path.read_bytes()


def test_a_month_that_is_too_large_for_one_file_goes_on_in_another(tmp_path: Path) -> None:
    entries = [archived()] * (SETS_PER_FILE + 2)
    paths = export_xdm(entries, tmp_path, SENDER)
    assert [path.name for path in paths] == ["KA202611.zip", "KA202611_2.zip"]
    for path in paths:
        assert len(import_xdm(path, {}, "test").taken) == 1


def recorded(**changes: Any) -> ArchivedKos:
    """With what a box of ours knows of the report."""
    record = record_of(
        CDA_NEW, patient_class="O", participant=None, secret_connection=False, kos_series_uid="", instance_number=0,
        visibility=replace(VISIBLE, invisible_patient=True),
    )  # fmt: skip
    return archived(record=record.to_bytes(), **changes)


def test_what_a_box_knows_of_the_report_comes_back_with_the_manifest(tmp_path: Path) -> None:
    (path,) = export_xdm([recorded()], tmp_path, SENDER)
    found = import_xdm(path, {}, "test")
    (entry,) = found.taken
    assert replace(entry, metadata=b"") == replace(recorded(), metadata=b"")
    assert Record.from_bytes(entry.record).visibility.invisible_patient
    assert found.warnings == ()


@pytest.mark.parametrize("content", [b"{}", b"[[[[", b"\xff", b'{"version":1}', Record().to_bytes()])
def test_a_record_that_does_not_speak_of_the_manifest_is_left_out(tmp_path: Path, content: bytes) -> None:
    for number, entry in enumerate((archived(record=content), recorded(report_id=Identifier("1.2.3", "another")))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (path,) = export_xdm([entry], folder, SENDER)
        found = import_xdm(path, {}, "test")
        assert [one.record for one in found.taken] == [b""]
        assert [one.reason for one in found.warnings] == ["record-differs"]


def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        export_xdm([archived(), replace(archived(), kos=b"no KOS")], tmp_path, SENDER)
    assert list(tmp_path.iterdir()) == []


def test_an_export_never_writes_over_another(tmp_path: Path) -> None:
    export_xdm([archived()], tmp_path, SENDER)
    with pytest.raises(StoreError, match="File exists"):
        export_xdm([archived()], tmp_path, SENDER)
    assert [path.name for path in tmp_path.iterdir()] == ["KA202611.zip"]


def test_an_entry_uuid_is_kept_without_its_scheme(tmp_path: Path) -> None:
    (path,) = export_xdm([archived(entry_uuid=f"urn:uuid:{UUID}")], tmp_path, SENDER)
    assert import_xdm(path, {}, "test").taken[0].entry_uuid == UUID


def test_an_export_into_no_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        export_xdm([archived()], tmp_path / "none", SENDER)
    assert caught.value.hint


def test_a_kos_of_another_maker_in_explicit_vr(tmp_path: Path) -> None:
    ds = dcmread(io.BytesIO(archived().kos))
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    facts_of_kos = kos_entry(unique_id="2.25.100", content=buffer.getvalue())
    metadata = publication_metadata(report(), exam(), facts(), facts_of_kos, SignatureEntry("2.25.3", b"s"))
    content = {"METADATA.XML": metadata, "KOS_1_1.DCM": buffer.getvalue(), "SIGN_1.XML": b"s"}
    path = zipped(tmp_path, {f"IHE_XDM/SS000001/{name}": data for name, data in content.items()})
    assert [entry.study_uid for entry in import_xdm(path, {}, "test").taken] == [exam().study_uid]


def kos_file(**changes: Any) -> bytes:
    facts_of_kos = {"study": study(), "identity": KosIdentity("2.25.100", "2.25.12", 1), **changes}
    return build_kos(facts_of_kos["study"], report(), exam(), MAKER, facts_of_kos["identity"], NOW)


@pytest.mark.parametrize(
    ("kos", "reason"),
    [
        (kos_file().replace(b"113030", b"113000"), "not-a-manifest"),
        (kos_file()[:-1], "kos-unreadable"),
        (kos_file().replace(b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.9\0"), "kos-unreadable"),
    ],
)
def test_a_kos_that_is_none_refuses_its_set(tmp_path: Path, kos: bytes, reason: str) -> None:
    metadata = publication_metadata(
        report(), exam(), facts(), kos_entry(unique_id="2.25.100", content=kos), SignatureEntry("2.25.3", b"s")
    )
    content = {"METADATA.XML": metadata, "KOS_1_1.DCM": kos, "SIGN_1.XML": b"s"}
    path = zipped(tmp_path, {f"IHE_XDM/SS000001/{name}": data for name, data in content.items()})
    assert [each.reason for each in import_xdm(path, {}, "test").refused] == [reason]
