import asyncio, re, time
from collections import Counter
from reconciler.messages import *
from tests.service.mail.test_sending import *
async def test_stop(tmp_path):
    async with desk(tmp_path, outbox={"sessions": 3}) as (running, server):
        numbers = [(await running.accept(message(ANN), f"{n}")).id for n in range(150)]
        for rounds in range(60):
            t0=time.perf_counter()
            async with running.working():
                await running.until_open()
                await asyncio.sleep(0.01 * (rounds % 8))
                t1=time.perf_counter()
            t2=time.perf_counter()
            f=await all_of(running, numbers)
            for one in f:
                if one.state is MessageState.UNKNOWN: print("UNKNOWN", one)
            print(rounds, f"{t1-t0:.3f} {t2-t1:.3f}", states_of(f), len(server.messages), server.connections, server.open)
            if states_of(f).get("sent")==150: break
        assert 0
