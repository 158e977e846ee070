/**
 * Errors of the device as rejections of whoever caused them. In: actions on a device. Out: their results, or a DeviceError that names
 * the place and a remedy. WebGPU itself reports a wrong call, a lack of memory or the loss of the device elsewhere
 * and later; nothing may be read from a buffer before these reports are in.
 */
import { DeviceError, MillraceError } from "@millrace/graph";

const filters = ["validation", "out-of-memory", "internal"] as const;

const remedies: Readonly<Record<(typeof filters)[number], string>> = {
  validation: "This is a bug of the backend: please report it with this message.",
  "out-of-memory": "Use a smaller batch, fewer tokens at once, or a smaller model.",
  internal: "The driver refused: update it, or use the WebAssembly backend.",
};

const problems: Readonly<Record<(typeof filters)[number], string>> = {
  validation: "the device refused a command",
  "out-of-memory": "the device has no more memory",
  internal: "the device failed",
};

/** Watches a device. */
export class DeviceGuard {
  readonly #device: GPUDevice;
  /** Ends everything that is waited for. A promise of the loss, raced by all of it, would keep each of them for ever. */
  readonly #waiting = new Set<() => void>();
  #loss: GPUDeviceLostInfo | undefined;

  constructor(device: GPUDevice) {
    this.#device = device;
    // Whoever waits hears of it; a loss while nobody waits is told to the next who does.
    device.lost.then(
      (info) => {
        this.#loss = info;
        for (const stop of this.#waiting) stop();
        return undefined;
      },
      () => undefined,
    );
    // Everything is done within scopes; what still gets out must not end the process, nor be lost without a trace.
    device.addEventListener("uncapturederror", (event) => {
      console.warn(`WebGPU: ${event.error.message}`);
    });
  }

  #lossError(where?: string): DeviceError {
    const { reason, message } = this.#loss ?? { reason: "unknown", message: "" };
    return new DeviceError({
      what: `the device was lost (${reason}${message ? `: ${message.split("\n")[0]}` : ""})`,
      where,
      hint:
        reason === "destroyed"
          ? "Open another backend."
          : "Check the graphics driver and the memory that is free, then start again.",
    });
  }

  /** Throws if the device is gone. */
  check(where: string): void {
    if (this.#loss) throw this.#lossError(where);
  }

  /** Calls `action` at once, and waits for what the device says of it. */
  async scope<T>(where: string, action: () => T): Promise<T> {
    let made: { readonly result: T; readonly report: Promise<void> };
    try {
      made = this.open(where, action);
    } catch (error) {
      throw this.#translate(where, error);
    }
    await made.report;
    return made.result;
  }

  /** The same in two halves: the result now, the device's report later. What `action` throws is thrown. */
  open<T>(where: string, action: () => T): { readonly result: T; readonly report: Promise<void> } {
    this.check(where);
    for (const filter of filters) this.#device.pushErrorScope(filter);
    // Scopes close in the opposite order, and all of them whatever happens.
    const close = (): Promise<void> =>
      this.#report(
        where,
        filters.toReversed().map(async (filter) => {
          const error = await this.#device.popErrorScope();
          return error && { filter, error };
        }),
      );
    try {
      const result = action();
      return { result, report: close() };
    } catch (error) {
      close().catch(() => undefined);
      throw error;
    }
  }

  async #report(
    where: string,
    reports: readonly Promise<{ filter: (typeof filters)[number]; error: GPUError } | null>[],
  ): Promise<void> {
    for (const report of await this.wait(where, Promise.all(reports)))
      if (report)
        throw new DeviceError({
          what: `${problems[report.filter]}: ${report.error.message.trim()}`,
          where,
          hint: remedies[report.filter],
        });
  }

  /** Waits for a promise of the device, or for its loss. */
  async wait<T>(where: string, promise: Promise<T>): Promise<T> {
    try {
      return await this.#untilLost(promise);
    } catch (error) {
      // A pending operation is often rejected a moment before the loss is announced.
      await new Promise((resolve) => setTimeout(resolve, 0));
      throw this.#translate(where, error);
    }
  }

  #untilLost<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(this.#lossError());
      const end = (): void => void this.#waiting.delete(stop);
      this.#waiting.add(stop);
      promise.then(resolve, reject).finally(end);
      if (this.#loss) stop();
    });
  }

  #translate(where: string, error: unknown): unknown {
    if (this.#loss) return this.#lossError(where);
    if (error instanceof MillraceError) return error;
    return new DeviceError({
      what: `the device failed: ${(error as Error).message}`,
      where,
      hint: "Check the graphics driver, or use the WebAssembly backend.",
      cause: error,
    });
  }
}
