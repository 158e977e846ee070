/**
 * Finds an adapter and opens a device. In: options. Out: a device with what it can do. In Node the adapter comes from Dawn, in the
 * optional package "webgpu", which is loaded here and nowhere else, when the first device is opened; elsewhere from
 * `navigator.gpu`. No global is changed.
 */
import { DeviceError } from "@millrace/graph";
import type { WgslCapabilities } from "./capabilities.ts";
import { raisedLimits, readCapabilities } from "./capabilities.ts";

export interface DeviceOptions {
  /** Part of the name of the adapter to use, such as "llvmpipe"; by default the one the system prefers. */
  readonly adapter?: string;
  /** Where adapters come from; by default Dawn in Node, `navigator.gpu` elsewhere. */
  readonly gpu?: GPU;
}

export interface OpenDevice {
  readonly device: GPUDevice;
  readonly capabilities: WgslCapabilities;
  /** What the adapter calls itself. */
  readonly name: string;
}

interface Dawn {
  create(options: readonly string[]): GPU;
}

/** The specifier is no literal, so that bundlers leave it alone. */
const dawnPackage: string = "webgpu";

/** Dawn's native objects must outlive everything made from them: once collected, their users crash the process. */
const kept = /* @__PURE__ */ new Set<object>();

const features = [
  "shader-f16",
  "subgroups",
  "timestamp-query",
  "chromium-experimental-subgroup-matrix",
] as const;

async function loadDawn(): Promise<Dawn> {
  try {
    return (await import(/* @vite-ignore */ dawnPackage)) as Dawn;
  } catch (cause) {
    throw new DeviceError({
      what:
        (cause as { code?: string }).code === "ERR_MODULE_NOT_FOUND"
          ? 'the optional package "webgpu" is not installed'
          : `the package "webgpu" cannot be loaded: ${(cause as Error).message}`,
      hint: "Run npm install webgpu, or use --device wasm.",
      cause,
    });
  }
}

function browserGpu(): GPU | undefined {
  const { navigator } = globalThis as { navigator?: { gpu?: GPU } };
  return navigator?.gpu;
}

/** Dawn's adapters, by options of its own; those of a browser where there is one. */
async function adapterSource({ gpu, adapter }: DeviceOptions): Promise<GPU> {
  const given = gpu ?? browserGpu();
  if (given) return given;
  const { create } = await loadDawn();
  const made = create(adapter === undefined ? [] : [`adapter=${adapter}`]);
  kept.add(made);
  return made;
}

/** How an adapter is named in messages and chosen by `adapter`. */
export function describeAdapter({ info }: GPUAdapter): string {
  const { vendor, architecture, device, description } = info;
  return [device || description, vendor, architecture].filter(Boolean).join(", ") || "unnamed";
}

/** Every adapter that can be told from the others, by name. */
export async function listAdapters(): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const powerPreference of ["high-performance", "low-power"] as const) {
    const source = await adapterSource({});
    const adapter = await source.requestAdapter({ powerPreference });
    if (adapter) found.add(describeAdapter(adapter));
  }
  return [...found];
}

export async function openDevice(options: DeviceOptions): Promise<OpenDevice> {
  const source = await adapterSource(options);
  const adapter = await source.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter)
    throw new DeviceError({
      what:
        options.adapter === undefined
          ? "there is no GPU adapter"
          : `there is no GPU adapter whose name contains "${options.adapter}"`,
      hint: "Install a Vulkan driver (apt-get install libvulkan1 mesa-vulkan-drivers has a software one), see millrace doctor, or use --device wasm.",
    });
  const requiredLimits = Object.fromEntries(
    raisedLimits.map((name) => [name, adapter.limits[name]]),
  );
  const requiredFeatures = features.filter((name) => adapter.features.has(name));
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      requiredLimits,
      requiredFeatures: requiredFeatures as GPUFeatureName[],
    });
  } catch (cause) {
    throw new DeviceError({
      what: `the adapter ${describeAdapter(adapter)} gives no device: ${(cause as Error).message}`,
      hint: "Check the graphics driver, or use --device wasm.",
      cause,
    });
  }
  kept.add(device);
  return {
    device,
    capabilities: readCapabilities(device.limits, device.features),
    name: describeAdapter(adapter),
  };
}

/** Gives a device back; its memory is free then, and what still runs on it is rejected. */
export function closeDevice({ device }: OpenDevice): void {
  device.destroy();
  kept.delete(device);
}
