"""A work place may have a nearly full disk: the shares by which the box judges its own do not hold for tests."""

from passevue.intake.room import Thresholds
from passevue.queue.room import Limits

ROOMY = Limits(warn=0.97, hold_bulk=0.98, stop=0.999, min_free_bytes=1 << 20, ballast_bytes=1 << 20)
ROOMY_IMAGES = Thresholds(hold=2, stop=2, min_free_bytes=0)
