/**
 * The only place that knows which package computes for which `--device`. In: a device's name. Out: its backend, which whoever asked
 * gives back: a GPU keeps its memory, and threads wait for work, until then.
 */
import type { Backend, Ceilings } from "@millrace/graph";

import type { DeviceOptions } from "./options.ts";
import { processCache } from "./plan-cache.ts";

/** A backend that may hold a device or threads, and know what they can do. */
export interface PickedBackend extends Backend {
  measureCeilings?(): Promise<Ceilings | undefined>;
  dispose?(): void;
}

/** Calls `body` with the backend for `device`, created anew, and gives that back. */
export async function withBackend<T>(
  options: DeviceOptions,
  body: (backend: PickedBackend) => Promise<T>,
): Promise<T> {
  const backend = await pickBackend(options);
  try {
    return await body(backend);
  } finally {
    backend.dispose?.();
  }
}

async function pickBackend(options: DeviceOptions): Promise<PickedBackend> {
  const { device, adapter, threads, relaxedSimd, revectorize } = options;
  if (device === "gpu") {
    const { createWgslBackend } = await import("@millrace/kernels-wgsl");
    return createWgslBackend(adapter === undefined ? {} : { adapter });
  }
  const { createInterpreterBackend, createWasmBackend, probeWasm } =
    await import("@millrace/kernels-cpu");
  switch (device) {
    case "wasm": {
      const cache = await processCache();
      return createWasmBackend({
        ...(threads !== undefined && { threads }),
        ...(relaxedSimd !== undefined && { relaxedSimd: relaxedSimd === "on" }),
        revectorize: revectorize === undefined ? probeWasm().revectorize : revectorize === "on",
        ...(cache && { cache }),
      });
    }
    case "interpreter":
      return createInterpreterBackend();
  }
  device satisfies never;
}
