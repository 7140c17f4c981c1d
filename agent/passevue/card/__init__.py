"""Who stands at the box and in whose name it speaks.

In: readers, cards, key files. Out: `Signer`s. Never: decides what is signed.
"""
