/**
 * The only place that knows which package computes for which `--device`. In: a device's name. Out: its backend.
 */
import type { Backend } from "@millrace/graph";

import type { Device } from "./options.ts";

/** The backend for `device`, created anew. */
export async function pickBackend(device: Device): Promise<Backend> {
  const { createInterpreterBackend, createWasmBackend } = await import("@millrace/kernels-cpu");
  switch (device) {
    case "wasm":
      return createWasmBackend();
    case "interpreter":
      return createInterpreterBackend();
  }
  device satisfies never;
}
