"""Takes in how far the audit trail has come; gives out that, signed by the TPM with the TPM's own time; and keeps in
the TPM the least rollback index that may still run here.

Decides what counts as a whole row of signed heads (`heads`) and which index (`rollback`); reading is anybody's, writing
one small unit's (`work`). It never reads a record, holds no key, and repairs nothing.
"""
