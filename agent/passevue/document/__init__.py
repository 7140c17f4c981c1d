"""Turns what came in into patient, study, report, manifest and submission set: values and pure functions.

In: bytes and values of the intake. Out: tasks, the KOS, the metadata of its submission, XDM archives.
Never: opens a socket or a database, asks the clock; identifiers are made in `identifiers` alone and passed in.
"""
