/**
 * The worker of the page: everything that computes, so that the page stays responsive. In: orders. Out: reports. One thing at a time:
 * between two steps of training it looks for orders, and writing has precedence over training.
 */
import { type ChosenDevice, chooseDevice } from "./choose-device.ts";
import type { Order, Report } from "./messages.ts";
import { modelSize } from "./model-sizes.ts";
import { createSession, type Session } from "./session.ts";

/** The part of a worker's global scope that is used here. */
interface Scope {
  postMessage(report: Report): void;
  addEventListener(type: "message", take: (event: MessageEvent<Order>) => void): void;
}

const scope = globalThis as unknown as Scope;
const say = (report: Report): void => scope.postMessage(report);
const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

let training = true;
let writing: Extract<Order, { kind: "write" }> | undefined;
let stopWriting = new AbortController();
/** Ends the wait of a worker that has nothing to do. */
let wake = (): void => undefined;

scope.addEventListener("message", ({ data: order }) => {
  switch (order.kind) {
    case "begin":
      work(order).catch((error: unknown) =>
        say({ kind: "failed", message: messageOf(error), fatal: true }),
      );
      break;
    case "pause":
      training = false;
      break;
    case "resume":
      training = true;
      break;
    case "write":
      writing = order;
      stopWriting = new AbortController();
      break;
    case "stopWriting":
      stopWriting.abort();
  }
  wake();
});

async function work(order: Extract<Order, { kind: "begin" }>): Promise<never> {
  const begun = performance.now();
  say({ kind: "phase", text: "Looking for a device …" });
  const device = await chooseDevice(order.device);
  say({ kind: "device", name: device.name, reason: device.reason });
  say({ kind: "phase", text: "Compiling the training step …" });
  const session = await begin(order, device);
  const seconds = (performance.now() - begun) / 1000;
  const { parameters, textBytes, kernels } = session;
  say({ kind: "ready", parameters, textBytes, kernels, seconds });
  let saidPaused = false;
  for (;;) {
    if (writing) {
      const { prompt, options } = writing;
      writing = undefined;
      await write(session, prompt, options);
    } else if (training) {
      saidPaused = false;
      say({ kind: "step", record: await session.step() });
      // A run of one thread does not give way by itself; here orders come in.
      await turn();
    } else {
      if (!saidPaused) say({ kind: "paused" });
      saidPaused = true;
      const woken = Promise.withResolvers<void>();
      wake = woken.resolve;
      await woken.promise;
    }
  }
}

function begin(
  { size, text, seed }: Extract<Order, { kind: "begin" }>,
  { backend }: ChosenDevice,
): Promise<Session> {
  return createSession({ backend, size: modelSize(size), text, seed });
}

/** What cannot be written is no reason to end the training. */
async function write(
  session: Session,
  prompt: string,
  options: Extract<Order, { kind: "write" }>["options"],
): Promise<void> {
  const { signal } = stopWriting;
  try {
    const pieces = session.write(prompt, options, signal);
    for (;;) {
      const next = await pieces.next();
      if (next.done) {
        say({ kind: "written", result: next.value });
        return;
      }
      say({ kind: "piece", piece: next.value });
      await turn();
    }
  } catch (error) {
    if (!signal.aborted) say({ kind: "failed", message: messageOf(error), fatal: false });
    say({ kind: "written", result: undefined });
  }
}

/** Lets waiting messages be delivered. */
function turn(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.addEventListener("message", () => {
      port1.close();
      resolve();
    });
    port1.start();
    port2.postMessage(undefined);
  });
}
