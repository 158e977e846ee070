/**
 * A program: kernels in order, with every buffer placed. In: what `plan` decided. Out: what `run` hands to a backend. Offsets
 * hold for the largest sizes, so one arena serves every run.
 */
import type { HostTensor } from "./host-tensor.ts";
import type { Kernel } from "./kernel.ts";
import type { SizeSymbol, TensorType } from "./shape.ts";

/** Where a buffer lives. Inputs, outputs and temporaries are in the arena; its offsets are in bytes. */
export type Place =
  | { readonly kind: "arena"; readonly offset: number }
  | { readonly kind: "state"; readonly name: string }
  | { readonly kind: "constant"; readonly value: HostTensor };

export interface ProgramBuffer {
  readonly type: TensorType;
  readonly place: Place;
}

/** One kernel call; `buffers[i]` is bound to the kernel's buffer i. */
export interface Step {
  readonly kernel: number;
  readonly buffers: readonly number[];
  /** Scope path and op of the node it computes, for errors and profiles. */
  readonly label: string;
}

/** An input or output by name, and the buffer that holds it. */
export interface Binding {
  readonly name: string;
  readonly type: TensorType;
  readonly buffer: number;
}

/** A value that outlives a run: a parameter, a moment, a cache. Zero until written. */
export interface StateSpec {
  readonly name: string;
  readonly type: TensorType;
}

export interface Program {
  readonly name: string;
  readonly sizes: readonly SizeSymbol[];
  /** Written by the host before the first step. */
  readonly inputs: readonly Binding[];
  /** Read by the host after the last step; may be a state, or share a buffer with an input or another output. */
  readonly outputs: readonly Binding[];
  readonly states: readonly StateSpec[];
  readonly buffers: readonly ProgramBuffer[];
  readonly kernels: readonly Kernel[];
  readonly steps: readonly Step[];
  /** Bytes of the arena: inputs, outputs and temporaries of a run, at the largest sizes. */
  readonly arenaBytes: number;
}
