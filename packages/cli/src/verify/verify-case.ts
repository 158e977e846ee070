/**
 * Recomputes a case. In: an open case. Out: a row for every tensor that it holds. Which computations run follows from the
 * names: each group below says which names are its own, and is run once for all of them.
 */
import { elementCount } from "@millrace/graph";

import type { Device } from "../options.ts";
import type { Case } from "./case.ts";
import { type Computed, largestError, type Numbers, type Rule } from "./compare.ts";
import { computeDecode, isDecodeName } from "./compute-decode.ts";
import {
  computeForward,
  computeFp8Logits,
  computeMtpTokens,
  isForwardName,
} from "./compute-forward.ts";
import {
  computeDequantized,
  computeFp8Linears,
  computeNumerics,
  isNumericsName,
} from "./compute-fp8.ts";
import { afterPrefix, computeTraining, isTrainingName } from "./compute-training.ts";
import { ruleFor, skipReason } from "./rules.ts";

export interface Row {
  readonly name: string;
  readonly status: "ok" | "failed" | "input" | "skipped";
  /** Largest error in the rule's measure; infinite where there was nothing to compare. */
  readonly error: number;
  readonly tolerance: number;
  readonly measure: Rule["measure"];
  readonly note?: string;
}

/** A tensor of the case, read when it is compared. */
interface Expected {
  readonly shape: readonly number[];
  readonly read: () => Promise<Numbers>;
}

interface Group {
  readonly title: string;
  readonly owns: (name: string) => boolean;
  readonly compute: (names: readonly string[]) => Promise<Computed>;
}

/** Given, not computed: checked where it is used. */
const isInput = (name: string, has: (name: string) => boolean): boolean =>
  /^(input_ids|prefill_length|encode\.input|act_quant\.input|gemm\.weight_f32|fp8_linear\..*\.input)$/.test(
    name,
  ) ||
  (/^gemm\.weight_(codes|scale_inv)$/.test(name) && !has("gemm.weight_f32"));

/** In order: a name belongs to the first group that owns it. */
function groupsOf(from: Case): readonly Group[] {
  const names = [...from.expected.entries.keys()];
  const isTraining = from.after !== undefined || names.some(isTrainingName);
  const isCached = names.includes("prefill_length");
  const training: Group = {
    title: "training steps",
    owns: (name) =>
      isTrainingName(name) || name.startsWith(afterPrefix) || /^(mtp\.)?logits$/.test(name),
    compute: () => computeTraining(from),
  };
  const cached: Group = {
    title: "prefill and decoding",
    owns: isDecodeName,
    compute: (wanted) => computeDecode(from, wanted),
  };
  return [
    {
      title: "FP8 arithmetic",
      owns: isNumericsName,
      compute: (wanted) => computeNumerics(from, wanted),
    },
    {
      title: "dequantised weights",
      owns: (name) => name.startsWith("dequant."),
      compute: (wanted) => computeDequantized(from, wanted),
    },
    {
      title: "FP8 linear layers",
      owns: (name) => /^fp8_linear\..*\.output$/.test(name),
      compute: (wanted) => computeFp8Linears(from, wanted),
    },
    {
      title: "the model in FP8",
      owns: (name) => /^fp8_gemm\.logits_(naive|absorb)$/.test(name),
      compute: (wanted) => computeFp8Logits(from, wanted),
    },
    ...(isTraining ? [training] : []),
    ...(isCached ? [cached] : []),
    {
      title: "tokens of the MTP module",
      owns: (name) => /^mtp\.(input_ids|position_ids|target_ids)$/.test(name),
      compute: () => computeMtpTokens(from),
    },
    {
      title: "the uncached pass",
      owns: (name) => name === "full.logits" || isForwardName(name),
      compute: async (wanted) => {
        const plain = wanted.map((name) => name.replace(/^full\./, ""));
        const computed = await computeForward(from, plain, isTraining ? 1 : 0);
        return new Map(wanted.map((name, i) => [name, computed.get(plain[i]!) ?? []]));
      },
    },
  ];
}

export interface VerifyCaseOptions {
  /** Hears what is being computed. */
  readonly progress: (text: string) => void;
  /** What computes: sums may differ more on some devices. */
  readonly device?: Device;
}

/** Recomputes everything. */
export async function verifyCase(
  from: Case,
  { progress, device }: VerifyCaseOptions,
): Promise<readonly Row[]> {
  const expected = new Map<string, Expected>();
  for (const [source, prefix] of [[from.expected, ""] as const, [from.after, afterPrefix] as const])
    for (const [name, { shape }] of source?.entries ?? [])
      expected.set(prefix + name, { shape, read: () => source!.readNumbers(name) });
  const groups = groupsOf(from);
  const owned = new Map<Group, string[]>(groups.map((group) => [group, []]));
  for (const name of expected.keys())
    if (!skipReason(name) && !isInput(name, (other) => expected.has(other))) {
      const group = groups.find(({ owns }) => owns(name));
      if (group) owned.get(group)!.push(name);
    }
  const computed = new Map<string, readonly Numbers[]>();
  for (const [group, names] of owned) {
    if (names.length === 0) continue;
    progress(group.title);
    for (const [name, values] of await group.compute(names)) computed.set(name, values);
  }
  const hasYarn = Boolean(from.model?.config.ropeScaling);
  const rows: Row[] = [];
  for (const [name, wanted] of expected) {
    const rule = ruleFor(name, hasYarn, device);
    const reason = skipReason(name);
    const given = isInput(name, (other) => expected.has(other));
    if (reason) rows.push({ ...unmeasured(name, "skipped"), note: reason });
    else if (given) rows.push({ ...unmeasured(name, "input"), note: "given, not computed" });
    else if (!rule || !groups.some(({ owns }) => owns(name)))
      rows.push({ ...unmeasured(name, "failed"), error: Infinity, note: "unknown name" });
    else rows.push(await compared(name, rule, wanted, computed.get(name) ?? []));
  }
  return rows;
}

function unmeasured(name: string, status: Row["status"]): Row {
  return { name, status, error: 0, tolerance: 0, measure: "exact" };
}

async function compared(
  name: string,
  rule: Rule,
  { shape, read }: Expected,
  candidates: readonly Numbers[],
): Promise<Row> {
  const { measure, tolerance } = rule;
  const failed = (note: string): Row => {
    return { ...unmeasured(name, "failed"), measure, tolerance, error: Infinity, note };
  };
  if (candidates.length === 0) return failed("the model has no such value");
  // Before anything is read: a file may hold more than memory does.
  const count = elementCount(shape);
  const misshapen = candidates.find(({ values }) => values.length !== count);
  if (misshapen)
    return failed(`computed [${misshapen.shape.join(", ")}], expected [${shape.join(", ")}]`);
  const expected = await read();
  const error = Math.max(...candidates.map((got) => largestError(got, expected, rule)));
  return { name, status: error <= tolerance ? "ok" : "failed", error, tolerance, measure };
}
