from __future__ import annotations

import asyncio

import pytest
from support import FakeClock

from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.shared_credential import SharedCredential


class Stored:
    """A token that is replaced when a test says so."""

    def __init__(self) -> None:
        self.value = "old"
        self.patiences: list[float] = []
        self.replaced: asyncio.Future[str] | None = None

    async def token(self) -> str:
        return self.value

    async def reread(self, patience: float) -> str:
        self.patiences.append(patience)
        self.replaced = asyncio.get_running_loop().create_future()
        self.value = await self.replaced
        return self.value


async def _calls(shared: SharedCredential, count: int, patience: float = 60.0) -> list[asyncio.Task[str]]:
    calls = [asyncio.create_task(shared.other_than("old", patience)) for _ in range(count)]
    await asyncio.sleep(0.01)
    return calls


def test_it_is_reread_once_for_all_that_were_refused() -> None:
    async def refuse() -> None:
        stored = Stored()
        shared = SharedCredential(stored, FakeClock())
        calls = await _calls(shared, 5)
        calls[0].cancel()  # the one that began it
        await asyncio.sleep(0.01)
        assert stored.replaced is not None
        stored.replaced.set_result("new")
        assert await asyncio.gather(*calls[1:]) == ["new"] * 4
        # One that was sent before comes back now: nothing newer is waited for.
        assert await shared.other_than("old", 60) == "new"
        assert stored.patiences == [60.0]

    asyncio.run(refuse())


def test_the_patience_of_one_is_not_that_of_others() -> None:
    async def refuse() -> None:
        stored, clock = Stored(), FakeClock()
        shared = SharedCredential(stored, clock)
        (first,) = await _calls(shared, 1, 60)
        clock.sleep(50)
        (second,) = await _calls(shared, 1, 60)
        clock.sleep(10)
        assert stored.replaced is not None
        stored.replaced.set_exception(RuntimeError("none in time"))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="none in time"):
            await first
        assert not second.done()
        assert stored.patiences == [60.0, 50.0]
        stored.replaced.set_result("new")
        assert await second == "new"

    asyncio.run(refuse())


def test_nothing_is_left_when_it_is_closed() -> None:
    async def close() -> None:
        shared = SharedCredential(Stored(), FakeClock())
        (call,) = await _calls(shared, 1)
        shared.close()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(close())


def test_a_client_that_lives_for_months_forgets_tokens() -> None:
    redactor = Redactor("a-password-of-a-proxy")
    for number in range(1000):
        redactor.add_sent(f"a-token-of-five-minutes-{number:04}")
    assert len(repr(redactor)) < 40
    assert redactor.redact("a-password-of-a-proxy a-token-of-five-minutes-0999") == "*** ***"
    assert redactor.redact("a-token-of-five-minutes-0985") == "***"
    assert redactor.redact("a-token-of-five-minutes-0001") == "a-token-of-five-minutes-0001"
