/**
 * Which device the page runs on. In: what the user wants. Out: a backend, its name, and why it is this one, in words. WebGPU is taken
 * where there is an adapter, else WebAssembly, with threads where the page is cross-origin isolated.
 */
import { type Backend, MillraceError } from "@millrace/graph";
import { createWasmBackend } from "@millrace/kernels-cpu";
import { createWgslBackend } from "@millrace/kernels-wgsl";

export const deviceChoices = ["auto", "gpu", "wasm", "wasm-1"] as const;
export type DeviceChoice = (typeof deviceChoices)[number];

export interface ChosenDevice {
  readonly backend: Backend;
  readonly name: string;
  readonly reason: string;
}

/** Opens the device that `choice` means here. */
export async function chooseDevice(choice: DeviceChoice): Promise<ChosenDevice> {
  switch (choice) {
    case "gpu":
      return openGpu("as chosen");
    case "wasm":
      return openWasm("as chosen");
    case "wasm-1":
      return openWasm("as chosen", 1);
    case "auto": {
      let why: string;
      try {
        return await openGpu("this browser offers it");
      } catch (error) {
        why = error instanceof MillraceError ? error.details.what : String(error);
      }
      return openWasm(why);
    }
  }
}

async function openGpu(reason: string): Promise<ChosenDevice> {
  const backend = await createWgslBackend();
  const { isFallbackAdapter } = backend.device.adapterInfo;
  return {
    backend,
    name: `WebGPU (${backend.adapter})`,
    reason: isFallbackAdapter ? `${reason}, though the processor plays the graphics card` : reason,
  };
}

function openWasm(reason: string, threads?: number): ChosenDevice {
  const backend = createWasmBackend(threads === undefined ? {} : { threads });
  const one = backend.threads === 1;
  const alone =
    one && threads === undefined && !globalThis.crossOriginIsolated
      ? "one thread only, since the server sends no headers that isolate the page"
      : "";
  return {
    backend,
    name: `WebAssembly, ${one ? "one thread" : `${backend.threads} threads`}`,
    reason: [reason, alone].filter(Boolean).join("; "),
  };
}
