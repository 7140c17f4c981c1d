"""dcmtk's storescu, echoscu and dcmsend against the DICOM listener."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.peers.dicom_intake import running
from tests.peers.modality import file_of, image, key_image_note, rejection_note, study

pytestmark = pytest.mark.skipif(not shutil.which("storescu"), reason="dcmtk is not installed")
ENV = {**os.environ, "TCP_NODELAY": "1", "TCP_BUFFER_LENGTH": "262144"}


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, env=ENV, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


def written(folder: Path, datasets: Sequence[Dataset]) -> Path:
    folder.mkdir()
    for number, ds in enumerate(datasets):
        (folder / f"{number:04d}.dcm").write_bytes(file_of(ds))
    return folder


async def test_echoscu_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as intake:
        code, said = await run("echoscu", "-aec", "PASSEVUE", "127.0.0.1", str(intake.port))
        assert code == 0, said
        code, said = await run("echoscu", "-aet", "STRANGER", "-aec", "PASSEVUE", "127.0.0.1", str(intake.port))
        assert code != 0
        assert "Calling AE Title Not Recognized" in said
        code, said = await run("echoscu", "-aec", "ELSE", "127.0.0.1", str(intake.port))
        assert "Called AE Title Not Recognized" in said


async def test_echoscu_with_every_transfer_syntax_and_as_many_contexts_as_64_kib_hold(tmp_path: Path) -> None:
    async with running(tmp_path) as intake:
        ask = ["echoscu", "-aec", "PASSEVUE", "-pts", "35", "--repeat", "5", "127.0.0.1", str(intake.port)]
        code, said = await run(*ask, "-ppc", "65")  # 61 KiB
        assert code == 0, said
        code, said = await run(*ask, "-ppc", "128")  # 117 KiB
        assert code != 0
        assert "Peer aborted" in said
        code, said = await run(*ask, "-ppc", "1")
        assert code == 0, said


@pytest.mark.parametrize(
    ("option", "syntax"),
    [
        ("-x=", ExplicitVRLittleEndian),
        ("-xe", ExplicitVRLittleEndian),
        ("-xb", ExplicitVRBigEndian),
        ("-xi", ImplicitVRLittleEndian),
        ("-xt", JPEGLSLossless),
        ("-xv", JPEG2000Lossless),
        ("-xr", RLELossless),
    ],
)
@pytest.mark.parametrize("pdu", ["4096", "131072"])
async def test_storescu_in_every_transfer_syntax(tmp_path: Path, option: str, syntax: str, pdu: str) -> None:
    images = [image("2.25.110", "IPP", "ACC", number=n, transfer_syntax=syntax) for n in range(1, 6)]
    folder = await asyncio.to_thread(written, tmp_path / "out", images)
    async with running(tmp_path / "box") as intake:
        code, said = await run(
            *("storescu", option, "+sd", "--max-send-pdu", pdu, "-aec", "PASSEVUE"),
            *("127.0.0.1", str(intake.port), str(folder)),
        )
        assert code == 0, said
        assert (await intake.images.totals())[0] == 5
        for ds in images:
            kept = await intake.images.open(ds.SOPInstanceUID)
            (tmp_path / "kept.dcm").write_bytes(kept)
            read = await asyncio.to_thread(dcmread, tmp_path / "kept.dcm")
            assert read.PixelData == ds.PixelData
            assert read.InstanceNumber == ds.InstanceNumber


async def test_what_we_keep_is_read_by_dcmtk(tmp_path: Path) -> None:
    ds = image("2.25.111", "IPP", "ACC", transfer_syntax=JPEGLSLossless)
    folder = await asyncio.to_thread(written, tmp_path / "out", [ds])
    async with running(tmp_path / "box") as intake:
        await run("storescu", "-xt", "-aec", "PASSEVUE", "127.0.0.1", str(intake.port), str(folder / "0000.dcm"))
        kept = tmp_path / "kept.dcm"
        await asyncio.to_thread(kept.write_bytes, await intake.images.open(ds.SOPInstanceUID))
    code, said = await run("dcmftest", str(kept))
    assert code == 0, said
    code, said = await run("dcmdump", "+P", "0002,0010", "+P", "0008,0018", str(kept))
    assert code == 0, said
    assert "JPEGLSLossless" in said
    assert ds.SOPInstanceUID in said


async def test_dcmsend_sends_a_mixed_folder(tmp_path: Path) -> None:
    images = study("2.25.112", slices=3, modality="CR")
    compressed = [image("2.25.112", "IPP", "ACC", series=2, number=n, transfer_syntax=JPEGLSLossless) for n in (1, 2)]
    notes = [key_image_note(images[:1], "ici"), rejection_note(images[1:2])]
    folder = await asyncio.to_thread(written, tmp_path / "out", [*images, *compressed, *notes])
    async with running(tmp_path / "box") as intake:
        code, said = await run(
            *("dcmsend", "-aet", "STORESCU", "-aec", "PASSEVUE", "+sd", "127.0.0.1", str(intake.port), str(folder))
        )
        assert code == 0, said
        found = await intake.images.find_study("2.25.112")
        assert found is not None
        assert found.instance_count == 7
        assert sorted(note.title for note, _ in intake.notes) == ["113000", "113001"]


async def test_storescu_that_aborts_or_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(written, tmp_path / "out", study("2.25.113", slices=2))
    async with running(tmp_path / "box") as intake:
        code, said = await run(
            *("storescu", "--abort", "-aec", "PASSEVUE", "127.0.0.1", str(intake.port), str(folder / "0000.dcm"))
        )
        assert code == 0, said
        assert (await intake.images.totals())[0] == 1
        code, said = await run("storescu", "+sd", "-aec", "PASSEVUE", "127.0.0.1", str(intake.port), str(folder))
        assert code == 0, said
        assert (await intake.images.totals())[0] == 2


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
async def test_storescu_speaks_tls_of_the_bcp_195_profile(tmp_path: Path) -> None:
    from passevue import config

    key, crt = tmp_path / "key.pem", tmp_path / "crt.pem"
    ask = ["openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    code, said = await run(*ask, "-keyout", str(key), "-out", str(crt))
    assert code == 0, said
    ds = study("2.25.114", slices=2)
    folder = await asyncio.to_thread(written, tmp_path / "out", ds)
    tls = config.Tls(certificate=crt, key=key)
    async with running(tmp_path / "box", tls=tls) as intake:
        code, said = await run(
            *("storescu", "+tla", "+cf", str(crt), "+sd", "-aec", "PASSEVUE"),
            *("127.0.0.1", str(intake.port), str(folder)),
        )
        assert code == 0, said
        assert (await intake.images.totals())[0] == 2
