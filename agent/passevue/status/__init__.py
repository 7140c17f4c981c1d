"""Status: what people see, and what is kept as evidence.

Takes the queue's counters and what the parts note of their neighbours. Gives one `Summary` in several dresses (page,
command line, metrics), the log and the audit trail. Never changes the queue, never shows who a patient is.
"""
