/**
 * What a device must offer: memory for state and a way to run a program over it. In: a `Program`. Out: an `Executable`.
 * A backend sees kernels and buffers only; it knows neither ops nor layers. The shortest one to read is the
 * interpreter's, in kernels-cpu.
 */
import type { Capabilities } from "../capabilities.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { Program, StateSpec } from "../program.ts";
import type { PlanCache } from "./cache.ts";
import type { ProfiledRun } from "./profile.ts";

/**
 * Persistent values by name, shared by all programs loaded over them: the parameters that training updates are those
 * that sampling reads.
 */
export interface Store {
  /** Adds states that are not there yet, filled with zeros. Throws if one exists with another type. */
  ensure(specs: readonly StateSpec[]): void;
  readonly specs: readonly StateSpec[];
  /** Writes `tensor`'s elements from element `at` on (0 by default): a whole state or one expert's slice. */
  write(name: string, tensor: HostTensor, at?: number): Promise<void>;
  /** A copy of the whole state. */
  read(name: string): Promise<HostTensor>;
  /** Bytes held. */
  readonly bytes: number;
  dispose(): void;
}

export type Values = Readonly<Record<string, HostTensor>>;

export interface Executable {
  readonly program: Program;
  /** Runs once. `sizes` gives the symbols that no input's shape determines. Outputs are copies. */
  run(
    inputs: Values,
    sizes?: Readonly<Record<string, number>>,
  ): Promise<Record<string, HostTensor>>;
  /** The same, measuring each step; absent where the backend cannot. Runs cost nothing more for its being there. */
  profile?(inputs: Values, sizes?: Readonly<Record<string, number>>): Promise<ProfiledRun>;
  /** Bytes taken for this program beside the store: equal to what the plan said. */
  readonly bytes: number;
  dispose(): void;
}

export interface Backend {
  readonly name: string;
  readonly capabilities: Capabilities;
  /** Where `compile` finds programs that it has planned before, if anywhere. */
  readonly cache?: PlanCache;
  createStore(): Store;
  /**
   * Prepares a program over a store made by the same backend. Programs of one `key` are equal: what was made of one may be kept
   * under that name, and used for the next.
   */
  load(program: Program, store: Store, key?: string): Promise<Executable>;
  /** What the backend makes of a program, as text. */
  print(program: Program): string;
}
