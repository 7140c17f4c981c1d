"""A box as a process of its own, for tests that kill it. Forked from a server that has imported it: starts in 0.1 s."""

import asyncio
import logging
import multiprocessing
from multiprocessing.process import BaseProcess

import structlog

from passevue.box import Box
from passevue.config import Config
from passevue.queue.retry import Policy
from tests.peers.disk import ROOMY_IMAGES


def live(config: Config, policy: Policy) -> None:
    """Until killed or terminated; silent."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(Box(config, policy=policy, thresholds=ROOMY_IMAGES).run())


def process(config: Config, policy: Policy) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.journeys.box_process"])
    return context.Process(target=live, args=(config, policy), daemon=True)
