/**
 * Text to token arrays. In: documents (a name, a size, a way to read the bytes) and a tokenizer. Out: packed training
 * tokens, packed held-out tokens with the held-out bytes themselves, and a fingerprint of it all. Documents are read
 * twice (once for their hash, once for their tokens), so only one is in memory at a time. Knows no file system.
 */
import { CheckpointError } from "@millrace/graph";

import { counterBits } from "./counter-random.ts";
import { chooseHeldOut, tailStart } from "./held-out.ts";
import { type TokenArray, type Tokenizer, TokenPacker } from "./packing.ts";

/** One text that can be read more than once. */
export interface TextDocument {
  /** For errors and progress: the file's path. */
  readonly name: string;
  read(): Promise<Uint8Array>;
}

export interface TokenDatasetOptions {
  readonly tokenizer: Tokenizer;
  /** Share of the text held out from training; 0.05 unless told. */
  readonly heldOutFraction?: number | undefined;
  /** Upper bound of the held-out text; 64 KiB unless told, since every evaluation reads all of it. */
  readonly heldOutMaxBytes?: number | undefined;
  readonly onProgress?: ((progress: DatasetProgress) => void) | undefined;
}

export interface DatasetProgress {
  readonly phase: "scan" | "tokenize";
  readonly documents: number;
  readonly totalDocuments: number;
  readonly bytes: number;
}

/** Packed text, split into a part to train on and a part never trained on. */
export interface TokenDataset {
  readonly train: TokenArray;
  readonly heldOut: TokenArray;
  /** The bytes that `heldOut` encodes, one document after the other. */
  readonly heldOutText: Uint8Array;
  readonly trainBytes: number;
  readonly documents: number;
  readonly vocabSize: number;
  /** Changes when any token of either part changes; a resumed run compares it. */
  readonly fingerprint: string;
}

/** More than this in one document does not fit a JavaScript string with room to tokenize it. */
const maxDocumentBytes = 2 ** 28;

/** Reads, splits, tokenizes and packs `documents` in the order given. */
export async function buildTokenDataset(
  documents: readonly TextDocument[],
  options: TokenDatasetOptions,
): Promise<TokenDataset> {
  const { tokenizer, onProgress } = options;
  const infos: { bytes: number; hash: string }[] = [];
  let bytes = 0;
  for (const document of documents) {
    const content = await document.read();
    if (content.length > maxDocumentBytes)
      throw new CheckpointError({
        what: `a text of ${content.length} bytes is too large to tokenize in one piece (limit ${maxDocumentBytes})`,
        where: document.name,
        hint: "Split the file.",
      });
    infos.push({ bytes: content.length, hash: contentHash(content) });
    bytes += content.length;
    onProgress?.({
      phase: "scan",
      documents: infos.length,
      totalDocuments: documents.length,
      bytes,
    });
  }
  if (bytes === 0)
    throw new CheckpointError({
      what:
        documents.length === 0
          ? "there is no document"
          : documents.length === 1
            ? "the document is empty"
            : `all ${documents.length} documents are empty`,
      where: documents[0]?.name ?? "training data",
      hint: "Pass files that hold text.",
    });

  const heldOutBytes = chooseHeldOut(infos, {
    fraction: options.heldOutFraction ?? 0.05,
    maxBytes: options.heldOutMaxBytes ?? 65_536,
  });
  const train = new TokenPacker(tokenizer);
  const heldOut = new TokenPacker(tokenizer);
  const heldOutParts: Uint8Array[] = [];
  let trainBytes = 0;
  let read = 0;
  for (const [index, document] of documents.entries()) {
    const content = await document.read();
    if (contentHash(content) !== infos[index]?.hash)
      throw new CheckpointError({
        what: "the file changed while it was being read",
        where: document.name,
        hint: "Start again once nothing writes to it.",
      });
    const cut = tailStart(content, heldOutBytes[index] ?? 0);
    const head = content.subarray(0, cut);
    const tail = content.subarray(cut);
    if (head.length > 0) train.append(decodeText(head, document.name), document.name);
    if (tail.length > 0) {
      heldOut.append(decodeText(tail, document.name), document.name);
      heldOutParts.push(Uint8Array.from(tail));
    }
    trainBytes += head.length;
    read += content.length;
    onProgress?.({
      phase: "tokenize",
      documents: index + 1,
      totalDocuments: documents.length,
      bytes: read,
    });
  }
  const trainTokens = train.finish();
  const heldOutTokens = heldOut.finish();
  return {
    train: trainTokens,
    heldOut: heldOutTokens,
    heldOutText: concatenate(heldOutParts),
    trainBytes,
    documents: documents.length,
    vocabSize: tokenizer.vocabSize,
    fingerprint: `${trainTokens.length}-${contentHash(trainTokens)}-${heldOutTokens.length}-${contentHash(heldOutTokens)}`,
  };
}

/** Text of UTF-8 bytes, every byte accounted for (a leading byte-order mark stays a character). */
function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError({
      what: "the file is not UTF-8 text",
      where: name,
      hint: "Convert it to UTF-8, or leave it out of the data glob.",
      cause,
    });
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}

/** 64 bits of two differently seeded multiplicative hashes; for telling contents apart, not against attackers. */
function contentHash(bytes: Uint8Array | TokenArray): string {
  let a = 0x811c9dc5;
  let b = 0x9e3779b9;
  for (let i = 0; i < bytes.length; i++) {
    const value = bytes[i] as number;
    a = Math.imul(a ^ value, 0x01000193);
    b = Math.imul(b ^ value, 0x85ebca6b) ^ (b >>> 15);
  }
  return hexadecimal(counterBits(a, bytes.length)) + hexadecimal(counterBits(b, bytes.length));
}

function hexadecimal(bits: number): string {
  return bits.toString(16).padStart(8, "0");
}
