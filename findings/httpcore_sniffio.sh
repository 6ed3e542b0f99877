#!/usr/bin/env bash
# Expected: an optional dependency that is not installed costs nothing at run time.
# Happens:  httpcore asks for the async library several times per request by `import sniffio`. anyio stopped depending on sniffio in 4.12,
#           so `pip install httpx` no longer brings it; Python does not remember failed imports, and each try searches all of sys.path again.
#           With a dozen entries on sys.path (editable installs) that is more than all the rest of an async request.
# Versions: httpx 0.28.1, httpcore 1.0.9, anyio 4.12 and newer. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet httpx==0.28.1 httpcore==1.0.9 'anyio>=4.12'
cat >"$folder/measure.py" <<'PYTHON'
import asyncio
import builtins
import time

import httpx

tries = 0
original = builtins.__import__


def counting(name, *rest):
    global tries
    tries += name == "sniffio"
    return original(name, *rest)


async def answer(reader, writer):
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def main(n=200):
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient(verify=False) as client:
        await client.get(url)
        builtins.__import__ = counting
        rounds = []
        for _ in range(5):
            began = time.process_time()
            for _ in range(n):
                await client.get(url)
            rounds.append((time.process_time() - began) / n * 1000)
        builtins.__import__ = original
    print(f"{tries / n / 5:.0f} {min(rounds):.2f}")


asyncio.run(main())
PYTHON
# A dozen folders to search, as an editable workspace has.
mkdir -p "$folder"/path/{1..12}
PYTHONPATH=$(printf '%s:' "$folder"/path/*)
export PYTHONPATH
without=$("$folder/venv/bin/python" "$folder/measure.py")
"$folder/venv/bin/pip" install --quiet sniffio==1.3.1
with=$("$folder/venv/bin/python" "$folder/measure.py")
echo "without sniffio: ${without% *} failed imports, ${without#* } CPU-ms per request"
echo "with sniffio:    ${with% *} imports, ${with#* } CPU-ms per request"
"$folder/venv/bin/python" -c 'import sys; sys.exit(not float(sys.argv[1]) > 1.2 * float(sys.argv[2]))' "${without#* }" "${with#* }" ||
  { echo "The behaviour has changed."; exit 1; }
echo "As found: a missing optional package makes every async request dearer."
