/**
 * What is said between the gang and its threads. Types only: the thread's file and the gang's must agree, and share nothing else.
 */

import type { Imports } from "./clock.ts";

/** To a thread. */
export type Order =
  /** Keep a program under a number. */
  | {
      readonly kind: "load";
      readonly program: number;
      readonly module: WebAssembly.Module;
      /** The module's imports: name of the module, name of the memory. */
      readonly imports: Imports;
      /** When the clock of whoever gives the order began. */
      readonly origin: number;
      readonly memory: WebAssembly.Memory;
      readonly control: number;
    }
  | { readonly kind: "forget"; readonly program: number }
  /** Run it, as thread `thread` of `threads`. */
  | {
      readonly kind: "run";
      readonly program: number;
      readonly thread: number;
      readonly threads: number;
      readonly sizes: readonly number[];
      /** Whether it is reported that all went well. */
      readonly report: "always" | "failure";
      /** Whether to stay awake for a while afterwards. */
      readonly awake: boolean;
    };

/** From a thread. */
export type Report =
  | { readonly kind: "ready" }
  | { readonly kind: "done" }
  /** `first` is false for a thread that gave up because another one had failed. */
  | { readonly kind: "failed"; readonly message: string; readonly first: boolean };
