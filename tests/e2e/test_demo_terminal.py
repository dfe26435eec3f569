"""The whole demonstration on a pseudo-terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import sys
import termios

import pytest

from tests.support.terminal import Screen

pytestmark = pytest.mark.slow


async def test_the_chain_fills_at_60_columns_and_follows_a_resize() -> None:
    device, host = os.openpty()
    screen = Screen(60, 24)

    def resize(columns: int, rows: int) -> None:
        fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        screen.resize(columns, rows)

    resize(60, 24)
    environ = {name: text for name, text in os.environ.items() if name != "NO_COLOR"}
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ztpd", "demo"),
        env=environ | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
        stdin=host,
        stdout=host,
        stderr=host,
    )
    os.close(host)
    os.set_blocking(device, False)

    async def look_until(text: str, within_s: float = 40.0) -> None:
        async with asyncio.timeout(within_s):
            while text not in screen.text:
                await asyncio.sleep(0.05)
                try:
                    screen.feed(os.read(device, 65536))
                except BlockingIOError:
                    continue
                except OSError:
                    raise AssertionError(f"the demo ended:\n{screen.text}") from None

    try:
        await look_until("▸ modem      reads the IMEI")
        await look_until("✓ store")
        await look_until("✓ fix        RTK fixed")
        assert "✓ modem      IMEI 49015420" in screen.text
        assert "1.2 m ▇" in screen.text
        assert "/ztpd status" in screen.text
        resize(100, 30)
        demo.send_signal(signal.SIGWINCH)  # the kernel sends it to a controlling terminal only
        await look_until("the real daemon among simulated devices and services", 5.0)
        assert screen.scrolled == 0

        demo.send_signal(signal.SIGINT)
        await look_until("demo      stopped", 15.0)
        assert not screen.on_own_page
        assert screen.has_cursor
        assert await demo.wait() == 0
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
        os.close(device)
