/**
 * Which text is kept from training. In: documents with size and content hash, and how much to hold out. Out: per
 * document, how many bytes at its end are held out (all, none, or a tail). Decided by content hash, so it depends
 * neither on paths nor on order, and copies of one document land on the same side. With too few documents for
 * that, every document gives its tail.
 */

/** One document before it is read for tokens. */
export interface DocumentInfo {
  readonly bytes: number;
  /** Hash of the content, 64 bits or more as hexadecimal digits. */
  readonly hash: string;
}

/** How much to hold out. */
export interface HeldOutOptions {
  /** Share of all bytes, from 0 (nothing) to 0.5. */
  readonly fraction: number;
  /** Never more than this many bytes. */
  readonly maxBytes: number;
}

/** Bytes held out at the end of each document: 0, its whole size, or in between. */
export function chooseHeldOut(
  documents: readonly DocumentInfo[],
  options: HeldOutOptions,
): readonly number[] {
  const total = documents.reduce((sum, document) => sum + document.bytes, 0);
  const target = Math.min(total * options.fraction, options.maxBytes);
  if (target < 1) return documents.map(() => 0);

  const copies = new Map<string, number[]>();
  for (const [index, { hash }] of documents.entries()) {
    const group = copies.get(hash);
    if (group) group.push(index);
    else copies.set(hash, [index]);
  }
  const chosen = new Set<number>();
  let bytes = 0;
  for (const hash of [...copies.keys()].sort()) {
    if (bytes >= 0.9 * target) break;
    const group = copies.get(hash) ?? [];
    const size = group.reduce((sum, index) => sum + (documents[index]?.bytes ?? 0), 0);
    // A document that overshoots by much would take text away from training; a later, smaller one may fit.
    if (bytes + size > 1.1 * target) continue;
    for (const index of group) chosen.add(index);
    bytes += size;
  }
  if (bytes >= 0.5 * target)
    return documents.map((document, index) => (chosen.has(index) ? document.bytes : 0));
  return documents.map((document) => Math.floor((document.bytes * target) / total));
}

/** Where to cut so that about `tail` bytes follow: after the nearest earlier line end, else between characters. */
export function tailStart(bytes: Uint8Array, tail: number): number {
  const at = bytes.length - tail;
  if (tail === 0 || at <= 0) return Math.max(0, at);
  const lineEnd = bytes.lastIndexOf(0x0a, at - 1);
  // Text without lines would otherwise move the cut far away.
  if (lineEnd >= 0 && at - lineEnd <= 1 + Math.max(256, tail / 4)) return lineEnd + 1;
  let start = at;
  while (start > 0 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start--;
  return start;
}
