"""XDM archives: the published KOS of a box with their metadata and signatures, to back up or to move (xdm.md).

Import and export are local files; nothing is published, as everything in an archive is in the DMP already. A KOS is
carried byte for byte: its hash is registered. `xdm_export` writes, `xdm_import` reads through the gate of `xdm_zip`.
"""

from passevue.document.kos_header import KosVersion
from passevue.document.xdm_export import Sender, export_xdm
from passevue.document.xdm_import import import_xdm
from passevue.document.xdm_values import ArchivedKos, Finding, XdmReport

__all__ = ["ArchivedKos", "Finding", "KosVersion", "Sender", "XdmReport", "export_xdm", "import_xdm"]
