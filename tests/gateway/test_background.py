"""Work beside the answers is bounded, and ends with the server."""

import asyncio

from sartor.gateway.background import Background


def test_what_has_no_room_is_not_begun():
    async def main():
        beside, go, ended = Background(most=2), asyncio.Event(), []

        async def work(name):
            await go.wait()
            ended.append(name)

        begun = [beside(work("a")), beside(work("b"))]
        third = work("c")
        assert not beside(third)
        third.close()
        assert (begun, len(beside)) == ([True, True], 2)
        go.set()
        await beside.drain(5)
        assert sorted(ended) == ["a", "b"]
        assert beside(work("d"))
        await beside.drain(5)

    asyncio.run(main())


def test_what_is_late_is_cancelled():
    async def main():
        beside, seen = Background(), []

        async def work():
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("cancelled")

        assert beside(work())
        await asyncio.sleep(0)
        await beside.drain(0.01)
        assert (seen, len(beside)) == (["cancelled"], 0)

    asyncio.run(main())
