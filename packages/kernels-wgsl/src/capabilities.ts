/**
 * What an adapter offers. In: its limits and features. Out: the record that the compiler stages see, and the one that the
 * choice of a kernel's form sees. Both are plain data, so that programs and shaders do not depend on a live device.
 */
import type { Capabilities } from "@millrace/graph";
import { dtypes, UnsupportedError } from "@millrace/graph";
import type { ProductForm } from "./configure/contract.ts";
import { arrayBytes } from "./configure/contract.ts";

/** What configure and emit know of a device. */
export interface WgslCapabilities {
  /** Most bytes of one binding; larger buffers are bound in parts. */
  readonly maxBindingBytes: number;
  /** Most bytes of one buffer. */
  readonly maxBufferBytes: number;
  /** Storage bindings of one shader. */
  readonly maxBindings: number;
  /** Alignment of a binding's offset, bytes. */
  readonly bindingAlignment: number;
  /** Alignment of a uniform binding's offset, bytes. */
  readonly uniformAlignment: number;
  readonly maxInvocations: number;
  readonly workgroupBytes: number;
  /** Workgroups along one dimension of a dispatch. */
  readonly maxGroups: number;
  /** Invocations that exchange values without workgroup memory, at least; 0 where shaders cannot. */
  readonly subgroupSize: number;
  readonly f16: boolean;
  /** Products of matrices of f16 to f32 that a subgroup computes as one operation; none where there are no such operations. */
  readonly matrices?: SubgroupMatrices;
  readonly timestamps: boolean;
  /** The processor plays the GPU: compiling takes longer than running. */
  readonly software: boolean;
  /** How long loops are is hidden from the device's compiler, which would take seconds to unroll them. */
  readonly rolled: boolean;
  /** Forms of products that were measured, by the hash of a kernel and the number of its dispatch; "*" for all others. */
  readonly products?: Readonly<Record<string, ProductForm>>;
}

/** Rows, columns and depth of each, and the invocations of a subgroup. */
export interface SubgroupMatrices {
  readonly lanes: number;
  /** Whether a shader must ask for subgroups of that many, because the device has several sizes. */
  readonly sized?: boolean;
  readonly sizes: readonly {
    readonly rows: number;
    readonly columns: number;
    readonly depth: number;
  }[];
}

/** The limits that a device is asked for as high as the adapter has them. */
export const raisedLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
] as const;

type LimitName =
  | (typeof raisedLimits)[number]
  | "minStorageBufferOffsetAlignment"
  | "minUniformBufferOffsetAlignment";

/**
 * SwiftShader, with which Chromium plays a graphics card, runs the invocations of a workgroup in turns, four at a time, and takes a
 * second to compile what shares memory among many: small workgroups suit it better than what it says of itself. Mesa's llvmpipe
 * has no such trouble, and takes tiles as a graphics card does.
 */
const swiftShader: Pick<WgslCapabilities, "maxInvocations" | "workgroupBytes"> = {
  maxInvocations: 4,
  workgroupBytes: 0,
};

type AdapterKind = Pick<GPUAdapterInfo, "architecture"> &
  Partial<Pick<GPUAdapterInfo, "isFallbackAdapter">>;

/** Reads them from a device and what its adapter says of itself. */
export function readCapabilities(
  limits: Readonly<Record<LimitName, number>>,
  features: { has(name: string): boolean },
  // Dawn's null device leaves it out.
  { architecture, isFallbackAdapter: software = false }: AdapterKind,
  { subgroupSize = 0, matrices }: Partial<Pick<WgslCapabilities, "subgroupSize" | "matrices">> = {},
): WgslCapabilities {
  // Bindings end at whole alignments, so that a buffer cut into parts has no rest in the middle.
  const alignment = Math.max(limits.minStorageBufferOffsetAlignment, 256);
  const wholeBytes = (bytes: number): number => bytes - (bytes % alignment);
  return {
    maxBindingBytes: wholeBytes(limits.maxStorageBufferBindingSize),
    maxBufferBytes: wholeBytes(limits.maxBufferSize),
    maxBindings: limits.maxStorageBuffersPerShaderStage,
    bindingAlignment: alignment,
    uniformAlignment: Math.max(limits.minUniformBufferOffsetAlignment, 16),
    maxInvocations: Math.min(
      limits.maxComputeInvocationsPerWorkgroup,
      limits.maxComputeWorkgroupSizeX,
    ),
    workgroupBytes: limits.maxComputeWorkgroupStorageSize,
    maxGroups: limits.maxComputeWorkgroupsPerDimension,
    subgroupSize: features.has("subgroups") ? subgroupSize : 0,
    f16: features.has("shader-f16"),
    timestamps: features.has("timestamp-query"),
    software,
    rolled: software,
    ...(matrices && { matrices }),
    ...(software && architecture === "swiftshader" && swiftShader),
  };
}

/** The limits that WebGPU guarantees everywhere. */
export const leastCapabilities: WgslCapabilities = {
  maxBindingBytes: 2 ** 27,
  maxBufferBytes: 2 ** 28,
  maxBindings: 8,
  bindingAlignment: 256,
  uniformAlignment: 256,
  maxInvocations: 256,
  workgroupBytes: 16384,
  maxGroups: 65535,
  subgroupSize: 0,
  f16: false,
  timestamps: false,
  software: false,
  rolled: false,
};

/** The record for fuse, lower and plan. WebGPU does not tell how much memory there is; a device that has too little says so. */
export function graphCapabilities(capabilities: WgslCapabilities): Capabilities {
  if (capabilities.maxBindings < 4)
    throw new UnsupportedError({
      what: `the adapter binds ${capabilities.maxBindings} buffers to a shader`,
      hint: "Use another adapter, or the WebAssembly backend.",
    });
  return {
    dtypes,
    alignment: capabilities.bindingAlignment,
    maxBytes: 2 ** 42,
    maxBuffersPerKernel: capabilities.maxBindings,
    arrayBytes: arrayBytes(capabilities),
    ...(capabilities.matrices && { multipliedAs: ["e4m3fn", "e5m2"] as const }),
  };
}
