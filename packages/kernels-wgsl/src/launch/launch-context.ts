/** What the programs of a backend have in common. In: nothing. Out: the record that loading and running pass on. */
import type { WgslCapabilities } from "../capabilities.ts";
import type { DeviceMemory } from "./buffers.ts";
import type { Pipelines } from "./pipelines.ts";

/** What every program of a backend shares. */
export interface LaunchContext {
  readonly device: GPUDevice;
  readonly capabilities: WgslCapabilities;
  readonly memory: DeviceMemory;
  readonly pipelines: Pipelines;
}
