"""Takes in what the cabinet sends: reports (HL7 v2), images and notes (DICOM), answers of the PACS.

In: hostile bytes on the centre's network. Out: typed values and bytes as received, kept before the sender is answered.
Never: reads a CDA, knows the queue, holds a key or a route to the national network.

    from the RIS         mllp ← mllp_frames, mllp_connection;  ris ← hl7, ack, ris_rules, ris_identity, ris_document
    from modalities      modality ← session ← upper_layer ← association, negotiation, dimse, wire;  storage, commitment
    kept by the box      images ← writer ← segment, shelf, spare;  image_index, retention, room, incoming
    asked of the PACS    pacs ← pacs_dicom, dicomweb ← pacs_query, pacs_association, pacs_answers, pacs_notes
    common to them       received, study, key_object, data_set, part10, uid, tls
"""
