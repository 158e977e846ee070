"""PyTorch's process. In: one JSON request a line on standard input. Out: one JSON reply a line on file descriptor 3.

The messages are those of measure/protocol.ts. The one argument is the number of threads.
"""
import json
import math
import os
import sys
import time
import traceback

replies = os.fdopen(3, "w", buffering=1)


class Absent(Exception):
    """A task that is not done here, with the reason."""


def measure(run, seconds):
    start = time.perf_counter()
    runs = 0
    while True:
        run()
        runs += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return elapsed / runs


class Server:
    def __init__(self, threads):
        self.threads = threads
        self.prepared = None

    def answer(self, request):
        what = request["what"]
        if what == "prepare":
            return self.prepare(request["task"])
        if what == "measure":
            return {"kind": "measured", "seconds": measure(self.prepared[0], request["seconds"])}
        self.prepared = None
        return {"kind": "released"}

    def prepare(self, task):
        try:
            import torch
        except ImportError:
            raise Absent("PyTorch is not installed")
        import tasks
        from values import sample_positions

        torch.set_num_threads(self.threads)
        self.prepared = None
        self.prepared = tasks.prepare(task, Absent)
        run, result = self.prepared
        run()
        values = result().double()
        sample = [float(values[int(at)]) for at in sample_positions(len(values))]
        return {
            "kind": "ready",
            "length": len(values),
            "sample": [value if math.isfinite(value) else None for value in sample],
            "facts": {},
            "version": torch.__version__,
        }


server = Server(int(sys.argv[1]))
for line in sys.stdin:
    try:
        reply = server.answer(json.loads(line))
    except Absent as absent:
        reply = {"kind": "absent", "reason": str(absent)}
    except Exception as error:
        reason = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        reply = {"kind": "failed", "reason": reason}
    replies.write(json.dumps(reply) + "\n")
