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

/** What to do where there is no adapter. */
export const adapterRemedy: string =
  "Install the graphics card's Vulkan driver, or a software one: apt-get install libvulkan1 mesa-vulkan-drivers (Mesa 25 or later; on Debian 12 with -t bookworm-backports)";

export interface OpenDevice {
  readonly device: GPUDevice;
  readonly capabilities: WgslCapabilities;
  /** What the adapter calls itself. */
  readonly name: string;
}

interface Dawn {
  readonly create: (options: readonly string[]) => GPU;
}

/** The specifier is no literal, so that bundlers leave it alone. */
const dawnPackage: string = "webgpu";

/** Dawn's native objects must outlive everything made from them: once collected, their users crash the process. */
const kept = /* @__PURE__ */ new Set<object>();

const features = [
  "shader-f16",
  "subgroups",
  "timestamp-query",
  "subgroup-size-control",
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
      hint: "Run npm install webgpu, or use the WebAssembly backend.",
      cause,
    });
  }
}

function browserGpu(): GPU | undefined {
  const { navigator } = globalThis as { navigator?: { gpu?: GPU } };
  return navigator?.gpu;
}

/** Where there is no Node, there are no packages to load: adapters are the browser's. */
function isBrowser(): boolean {
  const { process } = globalThis as { process?: { versions?: { node?: string } } };
  return process?.versions?.node === undefined;
}

/** Dawn's adapters, by options of its own; those of a browser where there is one. */
async function adapterSource({ gpu, adapter }: DeviceOptions): Promise<GPU> {
  const given = gpu ?? browserGpu();
  if (given) {
    kept.add(given);
    return given;
  }
  if (isBrowser())
    throw new DeviceError({
      what: "this browser does not offer WebGPU here",
      hint: "Use a current browser and a page from https or localhost, or the WebAssembly backend.",
    });
  const { create } = await loadDawn();
  const chosen = adapter === undefined ? [] : [`adapter=${adapter}`];
  // Browsers hide how fast a page's shaders are to within 65 microseconds; a process may know.
  const made = create(["disable-dawn-features=timestamp_quantization", ...chosen]);
  kept.add(made);
  return made;
}

/** How an adapter is named in messages and chosen by `adapter`. */
export function describeAdapter({ info }: GPUAdapter): string {
  const { vendor, architecture, device, description } = info;
  return [device || description, vendor, architecture].filter(Boolean).join(", ") || "unnamed";
}

/** The names in Dawn's complaint about an adapter that is not there: the only way to learn them all. */
function namesIn(message: string): readonly string[] {
  return [...message.matchAll(/name: '([^']*)'/g)].map(([, name]) => name!);
}

/** The names that `adapter` may be a part of. A browser tells of one only. */
export async function listAdapters(): Promise<readonly string[]> {
  if (browserGpu()) {
    const adapter = await browserGpu()!.requestAdapter();
    return adapter ? [describeAdapter(adapter)] : [];
  }
  try {
    const source = await adapterSource({ adapter: "no adapter is called this" });
    await source.requestAdapter();
    return [];
  } catch (error) {
    if (error instanceof DeviceError) throw error;
    return [...new Set(namesIn((error as Error).message))];
  }
}

/** The adapter, or undefined if there is none. */
async function findAdapter(source: GPU, options: DeviceOptions): Promise<GPUAdapter | undefined> {
  try {
    return (await source.requestAdapter({ powerPreference: "high-performance" })) ?? undefined;
  } catch (cause) {
    const { message } = cause as Error;
    const names = namesIn(message);
    if (names.length === 0 && !message.includes("no suitable backends"))
      throw new DeviceError({
        what: `no GPU adapter can be had: ${message}`,
        hint: "Check the graphics driver, or use the WebAssembly backend.",
        cause,
      });
    if (names.length === 0) return undefined;
    throw new DeviceError({
      what: `there is no GPU adapter whose name contains "${options.adapter ?? ""}"`,
      hint: `Choose one of: ${names.join(", ")}.`,
      cause,
    });
  }
}

export async function openDevice(options: DeviceOptions): Promise<OpenDevice> {
  const source = await adapterSource(options);
  const adapter = await findAdapter(source, options);
  if (!adapter)
    throw new DeviceError(
      isBrowser()
        ? {
            what: "the browser has WebGPU but no graphics adapter for it",
            hint: "Switch the browser's graphics acceleration on, or use the WebAssembly backend.",
          }
        : {
            what: "there is no GPU adapter",
            hint: `${adapterRemedy}, or use the WebAssembly backend.`,
          },
    );
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
      hint: "Check the graphics driver, or use the WebAssembly backend.",
      cause,
    });
  }
  kept.add(device);
  return {
    device,
    capabilities: readCapabilities(
      device.limits,
      device.features,
      adapter.info,
      subgroupsOf(source, adapter),
    ),
    name: describeAdapter(adapter),
  };
}

/** What Dawn says of subgroup matrices, which is no standard yet. */
interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** How invocations of an adapter may work together. */
function subgroupsOf(
  { wgslLanguageFeatures }: GPU,
  { info, features: offered }: GPUAdapter,
): Partial<Pick<WgslCapabilities, "subgroupSize" | "matrices">> {
  if (!wgslLanguageFeatures.has("subgroup_id")) return {};
  const { subgroupMinSize, subgroupMaxSize } = info;
  const { subgroupMatrixConfigs = [] } = info as {
    subgroupMatrixConfigs?: readonly MatrixConfig[];
  };
  const sizes = Array.from(subgroupMatrixConfigs)
    .filter((one) => one.componentType === "f16" && one.resultComponentType === "f32")
    .map(({ M, N, K }) => ({ rows: M, columns: N, depth: K }))
    .toSorted((a, b) => b.rows * b.columns * b.depth - a.rows * a.columns * a.depth);
  // A workgroup must know how many subgroups it has.
  const sized = subgroupMinSize < subgroupMaxSize;
  const lanes = sized ? 32 : subgroupMaxSize;
  const has =
    !sized ||
    (offered.has("subgroup-size-control") && subgroupMinSize <= lanes && lanes <= subgroupMaxSize);
  return {
    subgroupSize: subgroupMinSize,
    ...(has && sizes.length > 0 && { matrices: { lanes, sizes, sized } }),
  };
}

/** Gives a device back; its memory is free then, and what still runs on it is rejected. */
export function closeDevice({ device }: OpenDevice): void {
  device.destroy();
  kept.delete(device);
}
