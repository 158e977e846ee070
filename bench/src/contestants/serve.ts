/**
 * A contestant's process. In: one JSON request a line on standard input. Out: one JSON reply a line on file descriptor 3, so
 * that libraries may print what they like. Requests: prepare a task, measure it for some time, release it.
 */
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { samplePositions } from "../numbers.ts";
import type { Reply, Request } from "../measure/protocol.ts";
import { Absent } from "./contestant.ts";
import type { Contestant, Enter, Prepared } from "./contestant.ts";
import type { ContestantName } from "./names.ts";

const REPLIES = 3;

const entries: Partial<Record<ContestantName, () => Promise<{ readonly enter: Enter }>>> = {
  ceiling: () => import("./ceiling.ts"),
  "ceiling-128": () => import("./ceiling.ts"),
  millrace: () => import("./millrace.ts"),
  "millrace-128": async () => ({ enter: (await import("./millrace.ts")).enterNarrow }),
  "jax-js": () => import("./jax.ts"),
  tfjs: () => import("./tfjs.ts"),
  "tfjs-256": async () => ({ enter: (await import("./tfjs.ts")).enterWide }),
  "onnxruntime-web": () => import("./onnx-web.ts"),
  "onnxruntime-node": () => import("./onnx-node.ts"),
  "llama.cpp": () => import("./llama.ts"),
};

/** Runs for at least `seconds`, once at least. */
async function timed(prepared: Prepared, seconds: number): Promise<number> {
  const start = performance.now();
  let runs = 0;
  let elapsed = 0;
  do {
    await prepared.run();
    runs++;
    elapsed = performance.now() - start;
  } while (elapsed < seconds * 1e3);
  return elapsed / 1e3 / runs;
}

class Server {
  readonly #enter: () => Promise<Contestant>;
  #contestant: Contestant | undefined;
  #prepared: Prepared | undefined;

  constructor(enter: () => Promise<Contestant>) {
    this.#enter = enter;
  }

  async answer(request: Request): Promise<Reply> {
    switch (request.what) {
      case "prepare": {
        await this.#release();
        this.#contestant ??= await this.#enter();
        const prepared = await this.#contestant.prepare(request.task);
        this.#prepared = prepared;
        await prepared.run();
        const result = await prepared.result();
        const sample = samplePositions(result.length).map((at) => result[at]!);
        // What preparing left behind is neither to be there nor to be collected while others, or this one, are measured.
        globalThis.gc?.();
        const { facts = {} } = prepared;
        const { version } = this.#contestant;
        return { kind: "ready", length: result.length, sample, facts, version };
      }
      case "measure":
        return { kind: "measured", seconds: await timed(this.#prepared!, request.seconds) };
      case "release":
        await this.#release();
        return { kind: "released" };
    }
  }

  async #release(): Promise<void> {
    const prepared = this.#prepared;
    this.#prepared = undefined;
    await prepared?.release();
  }
}

function failure(error: unknown): Reply {
  if (error instanceof Absent) return { kind: "absent", reason: error.message };
  const message =
    error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error);
  return { kind: "failed", reason: message };
}

const [name = "", threads = "1"] = process.argv.slice(2);
const entry = entries[name as ContestantName];
const server = new Server(async () => {
  if (!entry) throw new Absent(`there is no contestant ${name}`);
  return (await entry()).enter(Number(threads));
});
for await (const line of createInterface({ input: process.stdin })) {
  const reply = await server.answer(JSON.parse(line) as Request).catch(failure);
  writeSync(REPLIES, `${JSON.stringify(reply)}\n`);
}
// Workers of libraries may be waiting still.
process.exit(0);
