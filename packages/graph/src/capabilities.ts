/**
 * What a device can do, as plain data: the only thing fuse, lower and plan know of it. A backend fills it in; two
 * backends with equal records get equal programs.
 */
import type { DType } from "./dtype.ts";

export interface Capabilities {
  /** Dtypes that kernels can load and store. */
  readonly dtypes: readonly DType[];
  /** Alignment of buffers in the arena, bytes. */
  readonly alignment: number;
  /** Most bytes that one program may take, arena and state together. */
  readonly maxBytes: number;
  /** Most bytes that lie in one piece, the arena or one state, where that is less. */
  readonly maxBlockBytes?: number;
  /** Buffers that one kernel may bind. */
  readonly maxBuffersPerKernel: number;
  /** Bytes of arrays that one kernel may have; 0 where kernels have none. */
  readonly arrayBytes: number;
  /**
   * Narrow floats that products multiply as they are. What is rounded to one of them is then stored as its codes, where it would
   * otherwise be widened and stored for a product to read.
   */
  readonly multipliedAs?: readonly DType[];
}
