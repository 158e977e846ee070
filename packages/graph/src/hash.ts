/**
 * Structural hashes. In: a form that prints. Out: 16 hexadecimal digits, the same on every machine and in every run, equal for equal
 * text. FNV-1a with 64 bits: for caches and for noticing changes, not for security.
 * Source: Fowler, Noll and Vo, RFC 9923.
 */
import type { Graph } from "./graph.ts";
import type { Kernel } from "./kernel.ts";
import { printGraph, printKernel, printProgram } from "./print.ts";
import type { Program } from "./program.ts";

/** FNV-1a of a text's UTF-16 code units, a byte each where that is enough. */
export function hashText(text: string): string {
  // The 64-bit state as two halves. The prime is 2^40 + 0x1b3, so its product needs one shift and two small products.
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  const take = (byte: number): void => {
    low = (low ^ byte) >>> 0;
    const product = low * 0x1b3;
    const carry = Math.floor(product / 2 ** 32);
    high = (Math.imul(high, 0x1b3) + carry + (low << 8)) >>> 0;
    low = product >>> 0;
  };
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    take(unit & 255);
    if (unit > 255) take(unit >>> 8);
  }
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}

export function hashGraph(graph: Graph): string {
  return hashText(printGraph(graph));
}

export function hashKernel(kernel: Kernel): string {
  return hashText(printKernel(kernel));
}

export function hashProgram(program: Program): string {
  return hashText(printProgram(program));
}
