/**
 * A thread of the gang. In: orders. Out: reports. It keeps an instance of every program it has been given, over the memory that all
 * threads share, and runs the one it is told to. A failure makes the others give up too. This file is started by
 * its address, in Node as a worker thread, in a browser as a worker; nothing imports it.
 */
import { withClock } from "./clock.ts";
import { abortTeam } from "./control.ts";
import type { Order, Report } from "./messages.ts";

interface Loaded {
  readonly run: (...numbers: number[]) => void;
  readonly giveUp: () => boolean;
}

/** The other end of the line, in Node and in a browser. */
interface Line {
  post(report: Report): void;
  listen(take: (order: Order) => void): void;
}

/** Milliseconds that a thread stays awake for the next order, which it then has some 50 µs earlier. */
const AWAKE_MS = 0.1;

function openLine(): Line {
  const threads =
    typeof process === "object" ? process.getBuiltinModule("node:worker_threads") : undefined;
  const port = threads?.parentPort;
  if (port) {
    const soon = (): Order | undefined => {
      const end = performance.now() + AWAKE_MS;
      do {
        const received = threads.receiveMessageOnPort(port);
        if (received) return received.message as Order;
      } while (performance.now() < end);
      return undefined;
    };
    return {
      post: (report) => port.postMessage(report),
      listen: (take) =>
        void port.on("message", (first: Order) => {
          for (let order: Order | undefined = first; order;) {
            take(order);
            order = order.kind === "run" && order.awake ? soon() : undefined;
          }
        }),
    };
  }
  const scope = globalThis as unknown as MessagePort;
  return {
    post: (report) => scope.postMessage(report),
    listen: (take) =>
      scope.addEventListener("message", ({ data }: MessageEvent<Order>) => take(data)),
  };
}

const line = openLine();
const programs = new Map<number, Loaded>();

function load(order: Extract<Order, { kind: "load" }>): void {
  const { program, module, imports, origin, memory, control } = order;
  programs.set(program, {
    run: entryOf(module, withClock(imports, origin)),
    giveUp: () => abortTeam(memory, control),
  });
}

/** A program's entry; of one that cannot be loaded, a function that says so when it is to run, since others wait for it then. */
function entryOf(module: WebAssembly.Module, imports: WebAssembly.Imports): Loaded["run"] {
  try {
    return new WebAssembly.Instance(module, imports).exports["run"] as Loaded["run"];
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

function run(order: Extract<Order, { kind: "run" }>): void {
  const loaded = programs.get(order.program);
  try {
    loaded!.run(order.thread, order.threads, ...order.sizes);
    if (order.report === "always") line.post({ kind: "done" });
  } catch (error) {
    const first = loaded?.giveUp() ?? true;
    line.post({ kind: "failed", message: (error as Error).message, first });
  }
}

line.listen((order) => {
  switch (order.kind) {
    case "load":
      load(order);
      break;
    case "forget":
      programs.delete(order.program);
      break;
    case "run":
      run(order);
  }
});
line.post({ kind: "ready" });
