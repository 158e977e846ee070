/** What is said between the page and its worker. Types only. */
import type { GenerationResult } from "@millrace/runtime";
import type { MetricsRecord } from "@millrace/trainer";

import type { DeviceChoice } from "./choose-device.ts";
import type { SizeName } from "./model-sizes.ts";
import type { WriteOptions, WrittenPiece } from "./session.ts";

/** To the worker. */
export type Order =
  /** Comes once, first. Training begins by itself. */
  | {
      readonly kind: "begin";
      readonly device: DeviceChoice;
      readonly size: SizeName;
      readonly text: string;
      readonly seed: number;
    }
  | { readonly kind: "pause" }
  | { readonly kind: "resume" }
  | { readonly kind: "write"; readonly prompt: string; readonly options: WriteOptions }
  | { readonly kind: "stopWriting" };

/** From the worker. */
export type Report =
  | { readonly kind: "device"; readonly name: string; readonly reason: string }
  /** What takes a while now. */
  | { readonly kind: "phase"; readonly text: string }
  | {
      readonly kind: "ready";
      readonly parameters: number;
      readonly textBytes: number;
      readonly kernels: number;
      readonly seconds: number;
    }
  | { readonly kind: "step"; readonly record: MetricsRecord }
  | { readonly kind: "paused" }
  | { readonly kind: "piece"; readonly piece: WrittenPiece }
  /** Nothing if it was stopped. */
  | { readonly kind: "written"; readonly result: GenerationResult | undefined }
  /** `fatal`: the worker can do no more. */
  | { readonly kind: "failed"; readonly message: string; readonly fatal: boolean };
