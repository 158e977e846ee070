/**
 * A thread as the gang sees it. In: what to do with its reports, and when it ends. Out: a line to it. Node's worker threads and a
 * browser's workers look the same from here on.
 */
import type * as NodeThreads from "node:worker_threads";
import type { Order, Report } from "./messages.ts";

/** A running thread. */
export interface Thread {
  post(order: Order): void;
  /** Whether the thread keeps the process alive; nothing to a browser. */
  keepAlive(alive: boolean): void;
  stop(): void;
}

/** What a thread lets the gang know. */
export interface ThreadEvents {
  report(report: Report): void;
  /** The thread is gone and says no more. */
  ended(reason: string): void;
}

export type StartThread = (events: ThreadEvents) => Thread;

/** Whether this engine can start threads over shared memory at all. */
export function hasThreads(): boolean {
  if (typeof SharedArrayBuffer === "undefined") return false;
  return nodeThreads() !== undefined || typeof Worker === "function";
}

/**
 * Whether the calling thread may wait for others without seeing to its events. Not in a browser: a page must not sleep, and what
 * a worker tells the workers it has started does not reach them all before it has returned.
 */
export function mayBlock(): boolean {
  return nodeThreads() !== undefined;
}

/** Processors that this process may use. */
export function availableThreads(): number {
  return Math.max(1, globalThis.navigator?.hardwareConcurrency ?? 1);
}

function nodeThreads(): typeof NodeThreads | undefined {
  // Asked for by name at run time, so that a browser's bundle does not look for it.
  return typeof process === "object" && typeof process.getBuiltinModule === "function"
    ? process.getBuiltinModule("node:worker_threads")
    : undefined;
}

/** Starts a thread; its first report is that it is ready. */
export const startThread: StartThread = (events) => {
  const node = nodeThreads();
  return node ? startNodeThread(node, events) : startBrowserThread(events);
};

function startNodeThread({ Worker: NodeWorker }: typeof NodeThreads, events: ThreadEvents): Thread {
  // From source the file is TypeScript, which Node runs as it is. The thread needs none of the process's options.
  const file = import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js";
  const worker = new NodeWorker(new URL(file, import.meta.url), {
    execArgv: [],
    name: "millrace",
  });
  let reason = "";
  worker.on("message", (report: Report) => events.report(report));
  worker.on("error", (error: Error) => (reason = error.message));
  worker.on("exit", (status) => events.ended(reason || `it exited with status ${status}`));
  return {
    post: (order) => worker.postMessage(order),
    keepAlive: (alive) => (alive ? worker.ref() : worker.unref()),
    stop: () => void worker.terminate(),
  };
}

function startBrowserThread(events: ThreadEvents): Thread {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }: MessageEvent<Report>) => events.report(data));
  worker.addEventListener("error", (event) => {
    worker.terminate();
    events.ended(event.message || "its file could not be loaded");
  });
  return {
    post: (order) => worker.postMessage(order),
    keepAlive: () => undefined,
    stop: () => worker.terminate(),
  };
}
