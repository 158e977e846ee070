/**
 * The WebGPU backend. In: an adapter. Out: a backend that runs programs as WGSL compute shaders, with state in device memory. Runs
 * on one device follow one another; a lost device rejects them all.
 */
import type { Backend, Ceilings, Executable, Program, Store } from "@millrace/graph";
import { InputError } from "@millrace/graph";
import type { WgslCapabilities } from "./capabilities.ts";
import { graphCapabilities } from "./capabilities.ts";
import { printConfiguration } from "./configure/configure.ts";
import type { DeviceOptions, OpenDevice } from "./device.ts";
import { closeDevice, openDevice } from "./device.ts";
import { DeviceMemory } from "./launch/buffers.ts";
import { measureCeilings } from "./launch/ceilings.ts";
import { DeviceGuard } from "./launch/device-errors.ts";
import { emitProgram } from "./launch/emit-program.ts";
import type { LaunchContext } from "./launch/launch-context.ts";
import { checkProgram, loadProgram } from "./launch/load.ts";
import { Pipelines } from "./launch/pipelines.ts";
import { WgslStore } from "./store.ts";
import type { TuneCache } from "./tune/tune.ts";
import { ProductTuner } from "./tune/tune.ts";

export interface WgslBackendOptions extends DeviceOptions {
  /** What to assume instead of what the device says, to try what another one would do. */
  readonly capabilities?: Partial<WgslCapabilities>;
  /**
   * Whether matrix products are measured in several forms when a program is loaded, and the fastest is taken of those with the same
   * results. With a cache, winners are kept in it for the next time.
   */
  readonly tune?: true | { readonly cache: TuneCache };
}

/** A backend with a device of its own. */
export interface WgslBackend extends Backend {
  /** What the adapter calls itself. */
  readonly adapter: string;
  readonly device: GPUDevice;
  /** Buffers that stores and executables hold now. */
  readonly liveBuffers: number;
  /** What the device does at best, measured now. */
  measureCeilings(): Promise<Ceilings>;
  /** Gives the device back. Programs and stores of this backend end with it. */
  dispose(): void;
}

/** Opens a device and makes a backend of it. Rejects with a DeviceError where there is none. */
export async function createWgslBackend(options: WgslBackendOptions = {}): Promise<WgslBackend> {
  const opened = await openDevice(options);
  return backendOver(opened, { ...opened.capabilities, ...options.capabilities }, options.tune);
}

function backendOver(
  opened: OpenDevice,
  capabilities: WgslCapabilities,
  tune: WgslBackendOptions["tune"],
): WgslBackend {
  const { device, name } = opened;
  const guard = new DeviceGuard(device);
  const memory = new DeviceMemory(device, guard, capabilities.maxBufferBytes);
  const pipelines = new Pipelines(device, guard);
  const context: LaunchContext = { device, capabilities, memory, pipelines };
  const tuner = tune && new ProductTuner(context, name, tune === true ? {} : tune);
  return {
    name: "gpu",
    adapter: name,
    device,
    capabilities: graphCapabilities(capabilities),
    createStore: (): Store => new WgslStore(memory),
    load: async (program, store): Promise<Executable> => {
      if (!(store instanceof WgslStore) || store.memory !== memory)
        throw new InputError({
          what: "the store belongs to another backend",
          where: program.name,
          hint: "Make it with createStore() of the backend that loads the program.",
        });
      checkProgram(program);
      store.ensure(program.states);
      const products = await tuner?.products(program);
      return loadProgram(
        program,
        store,
        products ? { ...context, capabilities: { ...capabilities, products } } : context,
      );
    },
    print: (program): string => printShaders(program, capabilities),
    get liveBuffers() {
      return memory.liveBuffers;
    },
    measureCeilings: () => measureCeilings(memory, capabilities),
    dispose: (): void => {
      memory.dispose();
      closeDevice(opened);
    },
  };
}

/** The choices and the WGSL of every kernel. */
export function printShaders(program: Program, capabilities: WgslCapabilities): string {
  const { variants, keys } = emitProgram(program, capabilities);
  const sections = [...variants].map(([key, { configuration, shaders }]) => {
    const kernel = program.kernels[Number(key.split(":")[0])]!;
    const calls = keys.filter((other) => other === key).length;
    const choices = printConfiguration(configuration).replaceAll(/^/gm, "//   ");
    const head = `// kernel ${kernel.name}, called ${calls} times\n${choices}`;
    return [head, ...shaders.map(({ code }) => code)].join("\n");
  });
  return sections.join("\n");
}
