/**
 * The browser's `Worker` on top of Node's threads: as much as libraries need that start workers from a blob and send them shared
 * memory. In: nothing. Out: a global `Worker`, and a number of processors that a library is to see.
 */
import { resolveObjectURL } from "node:buffer";
import { Worker as Thread } from "node:worker_threads";

/** What a worker of the browser finds. */
const prelude = `
const { parentPort } = require("node:worker_threads");
globalThis.self = globalThis;
globalThis.postMessage = (data) => parentPort.postMessage(data);
parentPort.on("message", (data) => globalThis.onmessage?.({ data }));
`;

class WebWorker {
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onerror: ((event: { readonly message: string }) => void) | null = null;
  #thread: Thread | undefined;
  /** Messages that came before the source was read. */
  #early: unknown[] | undefined = [];

  constructor(url: string) {
    void this.#start(url);
  }

  async #start(url: string): Promise<void> {
    const blob = resolveObjectURL(url);
    if (!blob) {
      this.onerror?.({ message: `there is nothing at ${url}` });
      return;
    }
    const thread = new Thread(`${prelude}\n${await blob.text()}`, { eval: true });
    thread.on("message", (data: unknown) => this.onmessage?.({ data }));
    thread.on("error", ({ message }: Error) => this.onerror?.({ message }));
    thread.unref();
    for (const message of this.#early ?? []) thread.postMessage(message);
    this.#early = undefined;
    this.#thread = thread;
  }

  postMessage(message: unknown): void {
    if (this.#thread) this.#thread.postMessage(message);
    else this.#early?.push(message);
  }

  terminate(): void {
    void this.#thread?.terminate();
  }
}

/** Lets libraries start `threads` workers. */
export function installWebWorker(threads: number): void {
  Object.assign(globalThis, { Worker: WebWorker });
  Object.defineProperty(navigator, "hardwareConcurrency", { value: threads });
}
