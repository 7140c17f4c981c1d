"""Takes in what the cabinet sends: reports (HL7 v2), images and notes (DICOM), answers of the PACS.

In: hostile bytes on the centre's network. Out: typed values and bytes as received, kept before the sender is answered.
Never: reads a CDA, knows the queue, holds a key or a route to the national network.
"""
