/**
 * What goes between the bench and a contestant's process: one JSON value a line in each direction. In: nothing. Out: the
 * messages. The Python side (`contestants/torch/serve.py`) has the same.
 */
import type { Task } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";
import type { Sample } from "./agreement.ts";

export type Request =
  | { readonly what: "prepare"; readonly task: Task }
  /** Run for at least so long. */
  | { readonly what: "measure"; readonly seconds: number }
  | { readonly what: "release" };

export type Reply =
  | {
      readonly kind: "ready";
      /** Elements of the result, and the sampled ones. */
      readonly length: number;
      readonly sample: Sample;
      readonly facts: Readonly<Record<string, number>>;
      readonly version: string;
    }
  /** Seconds of one run, on average. */
  | { readonly kind: "measured"; readonly seconds: number }
  | { readonly kind: "released" }
  | { readonly kind: "absent"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

/** Something that answers; a process as a rule. */
export interface Partner {
  /** It has failed and answers nothing any more. */
  readonly hasEnded: boolean;
  ask(request: Request): Promise<Reply>;
  /** Stops it where it is, so that threads that spin while they wait take no time from others. */
  pause(): void;
  resume(): void;
  close(): void;
}

/** Whose process it is, and with how many threads. */
export interface Owner {
  readonly contestant: ContestantName;
  readonly threads: number;
}

/** Where processes come from; each does one task at a time. */
export interface Pool {
  take(owner: Owner): Partner;
  give(owner: Owner, partner: Partner): void;
}
