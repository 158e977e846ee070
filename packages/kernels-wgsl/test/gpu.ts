/**
 * Devices for tests. In: nothing. Out: Dawn's null device, which compiles shaders and takes commands but computes nothing and is
 * there on every machine; and whether there is an adapter that computes.
 */
import { create } from "webgpu";
import { listAdapters } from "../src/device.ts";

/** What devices come from must not be collected before the process ends. */
const kept: object[] = [];

export function nullGpu(): GPU {
  const made = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  kept.push(made);
  return made;
}

/** Names of the adapters here; software ones count. */
export const adapters: readonly string[] = await listAdapters();

/** Whether tests that compute are skipped: apt-get install libvulkan1 mesa-vulkan-drivers has a software adapter. */
export const noAdapter: boolean = adapters.length === 0;
if (noAdapter)
  console.warn(
    "There is no GPU adapter here, so tests that compute on one are skipped. Install libvulkan1 and mesa-vulkan-drivers (Mesa 25 or later) for a software one.",
  );
