"""The links that a daemon would own, tried here because none runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from ztpd.check.results import NotReached, joined
from ztpd.config import Config
from ztpd.errors import (
    FormatExcluded,
    ReceiverRefused,
    ReceiverSilent,
    ReceiverUnconfigurable,
    SessionClosed,
    SessionStale,
    ZtpdError,
)
from ztpd.model import CORRECTION_FORMATS, DynamicKey, Fix, Frame, FrameKind, SourceEndpoint
from ztpd.modem import identity
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.sources import Session, open_session, topics
from ztpd.status import ReceiverView
from ztpd.system.tasks import end

_IDENTITY_S = 15.0  # a modem that is starting takes longer; the daemon waits for it
_RECEIVER_S = 20.0  # to be found at any speed, and set up; the position takes no longer
_USE_S = 60.0  # the receiver is given 40 s to use corrections
_POLL_S = 0.1


class DirectProbe:
    """One session with ``endpoint`` and one receiver, from log-in to use; ``held`` ends both.

    ``endpoint`` is None where there are no credentials; ``keys`` are those of the credentials.
    """

    def __init__(
        self,
        config: Config,
        held: AsyncExitStack,
        endpoint: SourceEndpoint | None = None,
        keys: Sequence[DynamicKey] = (),
    ) -> None:
        self._config = config
        self._held = held
        self._endpoint = endpoint
        self._keys = keys
        self._device: Receiver | None = None
        self._session: Session | None = None
        self._frames: AsyncIterator[Frame] | None = None
        self._format: FrameKind | None = None

    async def modem(self) -> str:
        settings = self._config.identity
        limited = replace(settings, timeout_s=min(settings.timeout_s, _IDENTITY_S))
        found = await identity.read(replace(self._config, identity=limited))
        return joined(f"{found}, from {found.source}", found.note)

    async def login(self) -> str:
        endpoint = self._endpoint
        if endpoint is None:
            raise NotReached("needs credentials")
        device = self._started()
        if topics.waits_for_position(endpoint) or endpoint.kind == "ntrip":
            await _until(lambda: self._position() or device.error, _RECEIVER_S)
        if topics.waits_for_position(endpoint) and not self._position():
            raise NotReached("needs the receiver's position, to choose the topics")
        session = open_session(
            endpoint,
            position=self._position,
            fresh_credentials=False,
        )
        self._session = await self._held.enter_async_context(session)
        return self._session.where

    def _position(self) -> Fix | None:
        fix = self._device.fix if self._device else None
        return fix if fix and fix.ok else None

    def _started(self) -> Receiver:
        """The receiver, running from the first call on."""
        if self._device:
            return self._device
        device = self._device = Receiver(ReceiverSettings.of(self._config)._replace(share=""))
        device.set_keys(self._keys)
        running = asyncio.create_task(device.run())

        self._held.push_async_callback(end, running)
        return device

    async def data(self) -> str:
        if self._session is None or self._endpoint is None:
            raise NotReached("needs the log-in")
        self._frames = aiter(self._session)
        patience_s, others = self._config.corrections.stale_after_s, 0
        wanted = CORRECTION_FORMATS.get(self._config.corrections.format)
        wanted = CORRECTION_FORMATS.get(self._endpoint.format, wanted)  # as a backup has it
        try:
            async with asyncio.timeout(patience_s):
                async for frame in self._frames:
                    self._deliver(frame)
                    if frame.kind not in CORRECTION_FORMATS.values():
                        continue
                    if wanted in (None, frame.kind):
                        self._format = frame.kind
                        return f"{frame.kind.value} arrives"
                    others += 1
        except TimeoutError as error:
            if wanted and others:
                sent = f"{self._session.where} sent {others} messages, and no {wanted.value}"
                raise FormatExcluded(sent) from error
            raise SessionStale(f"{self._session.where}, {patience_s:g} s") from error
        raise SessionClosed(self._session.where)

    def _deliver(self, frame: Frame) -> None:
        if self._device:
            self._device.deliver(frame)

    async def receiver(self) -> str:
        device = self._started()
        await _until(lambda: device.ready or device.error, _RECEIVER_S)
        if device.error and not isinstance(device.error, ReceiverRefused | ReceiverUnconfigurable):
            raise device.error
        if not device.ready and not device.error:
            raise ReceiverSilent(f"{self._config.receiver.port}, within {_RECEIVER_S:g} s")
        return joined(device.view.model, device.view.firmware, device.view.port)

    async def setup(self) -> str:
        device = self._device
        if device is None:
            raise NotReached("needs the receiver")
        if device.error:
            raise device.error
        if self._format and self._format not in device.accepts:
            raise device.refusal(self._format)
        return f"takes {' and '.join(sorted(kind.value for kind in device.accepts))}"

    async def use(self) -> ReceiverView:
        device, frames = self._device, self._frames
        if device is None or frames is None:
            raise NotReached("needs data")

        async def feed() -> None:
            async for frame in frames:
                self._deliver(frame)

        feeding = asyncio.create_task(feed())
        try:
            await _until(
                lambda: device.view.use != "unknown" or feeding.done() or device.error, _USE_S
            )
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError, ZtpdError):
                await feeding
        return device.view

    async def backup(self, endpoint: SourceEndpoint) -> str:
        """Open a session, and close it when the caster has accepted."""
        device = self._started()
        await _until(lambda: self._position() or device.error, _RECEIVER_S)
        async with open_session(
            endpoint, position=self._position, fresh_credentials=False
        ) as session:
            return f"{session.where} accepts the log-in"


async def _until(condition: Callable[[], object], within_s: float) -> None:
    """Return when ``condition`` holds, or when the time is over."""
    for _ in range(round(within_s / _POLL_S)):
        if condition():
            return
        await asyncio.sleep(_POLL_S)
