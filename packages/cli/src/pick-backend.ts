/**
 * The only place that knows which package computes for which `--device`. In: a device's name. Out: its backend.
 */
import { AttributeError, type Backend } from "@millrace/graph";

import type { DeviceOptions } from "./options.ts";

/** The backend for `device`, created anew. */
export async function pickBackend({ device, adapter }: DeviceOptions): Promise<Backend> {
  if (adapter !== undefined && device !== "gpu")
    throw new AttributeError({
      what: `--adapter chooses a GPU, --device is ${device}`,
      hint: "Add --device gpu.",
    });
  if (device === "gpu") {
    const { createWgslBackend } = await import("@millrace/kernels-wgsl");
    return createWgslBackend(adapter === undefined ? {} : { adapter });
  }
  const { createInterpreterBackend, createWasmBackend } = await import("@millrace/kernels-cpu");
  switch (device) {
    case "wasm":
      return createWasmBackend();
    case "interpreter":
      return createInterpreterBackend();
  }
  device satisfies never;
}
