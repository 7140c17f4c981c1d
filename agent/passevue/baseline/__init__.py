"""Baseline: what the box must satisfy, rule by rule, and what stops when it does not (security-baseline.md).

Takes in a `Machine`, the one seam to the box. Gives out one `Report`, and the verdict that `national` opens on. Rules
read and never repair; nothing here changes the box, its queue or its settings.
"""
