/**
 * Where checkpoint bytes come from and go to. In: ranges to read, bytes to write. Out: those bytes, or a
 * CheckpointError that names the file. Knows neither file systems nor formats: `../node.ts` implements
 * these interfaces over files, `memoryDirectory` over a map; a browser can implement them over fetch.
 */
import { CheckpointError } from "@millrace/graph";

/** Random access to one file of known length. */
export interface ByteSource {
  /** How messages name the file. */
  readonly name: string;
  readonly byteLength: number;
  /** Exactly `length` bytes from `offset`; rejects when the file does not have them. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A file being written. Nothing is visible under its name before `commit`. */
export interface WritableFile {
  readonly name: string;
  write(bytes: Uint8Array): Promise<void>;
  /** Makes what was written durable, still under its temporary name. Called once, after the last write. */
  finish(): Promise<void>;
  /** Puts the finished file in place of what had its name. */
  commit(): Promise<void>;
  /** Removes the temporary file; what had the name before stays. */
  discard(): Promise<void>;
}

/** A folder of checkpoint files. */
export interface CheckpointDirectory {
  /** How messages name the folder. */
  readonly name: string;
  /** Undefined when there is no such file. */
  open(file: string): Promise<ByteSource | undefined>;
  create(file: string): Promise<WritableFile>;
  remove(file: string): Promise<void>;
  /** Names of the files in it. */
  list(): Promise<string[]>;
}

/** Largest text file (config, index, tokenizer) that is read whole. */
const textLimit = 512 * 2 ** 20;

/** A source over bytes in memory. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    byteLength: bytes.byteLength,
    read(offset, length) {
      if (offset + length > bytes.byteLength)
        return Promise.reject(pastTheEnd(name, offset, length));
      return Promise.resolve(bytes.slice(offset, offset + length));
    },
    close: () => Promise.resolve(),
  };
}

/** The error of a read that a file is too short for. */
export function pastTheEnd(name: string, offset: number, length: number): CheckpointError {
  return new CheckpointError({
    what: `the file ends before byte ${offset + length} (reading ${length} bytes from ${offset})`,
    where: name,
    hint: "Copy or download the file again; it is truncated or was changed while being read.",
  });
}

/** A directory in memory; `files` is read and written in place. */
export function memoryDirectory(
  name: string,
  files: Map<string, Uint8Array> = new Map(),
): CheckpointDirectory {
  return {
    name,
    open(file) {
      const bytes = files.get(file);
      return Promise.resolve(bytes && memorySource(`${name}/${file}`, bytes));
    },
    create(file) {
      const chunks: Uint8Array[] = [];
      return Promise.resolve({
        name: `${name}/${file}`,
        write(bytes: Uint8Array): Promise<void> {
          chunks.push(bytes.slice());
          return Promise.resolve();
        },
        finish: () => Promise.resolve(),
        commit(): Promise<void> {
          files.set(file, concatenateBytes(chunks));
          return Promise.resolve();
        },
        discard: () => Promise.resolve(),
      });
    },
    remove(file) {
      files.delete(file);
      return Promise.resolve();
    },
    list: () => Promise.resolve([...files.keys()]),
  };
}

function concatenateBytes(chunks: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(chunks.reduce((sum, c) => sum + c.byteLength, 0));
  let offset = 0;
  for (const chunk of chunks) {
    out.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return out;
}

/** A UTF-8 file as text, or undefined when the directory has no such file. */
export async function readText(
  directory: CheckpointDirectory,
  file: string,
): Promise<string | undefined> {
  const source = await directory.open(file);
  if (!source) return undefined;
  try {
    if (source.byteLength > textLimit)
      throw new CheckpointError({
        what: `${source.byteLength} bytes are too many for a text file of a checkpoint`,
        where: source.name,
        hint: "Check that the right file has this name.",
      });
    return decodeText(await source.read(0, source.byteLength), source.name);
  } finally {
    await source.close();
  }
}

/** A JSON file parsed, or undefined when the directory has no such file. */
export async function readJson(directory: CheckpointDirectory, file: string): Promise<unknown> {
  const text = await readText(directory, file);
  return text === undefined ? undefined : parseJson(text, `${directory.name}/${file}`);
}

export function decodeText(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError({
      what: "the text is not valid UTF-8",
      where,
      hint: "Copy or download the file again.",
      cause,
    });
  }
}

export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new CheckpointError({
      what: `the text is not valid JSON (${(cause as Error).message})`,
      where,
      hint: "Correct it, or copy or download the file again.",
      cause,
    });
  }
}

/** Writes a whole small file: all of it, or nothing. */
export async function writeWhole(
  directory: CheckpointDirectory,
  file: string,
  bytes: Uint8Array,
): Promise<void> {
  await writeFiles(directory, [file], (target) => target.write(bytes));
}

/**
 * Writes several files under temporary names, one after the other, then puts them in place in order. When
 * anything fails before, none of them appears.
 */
export async function writeFiles(
  directory: CheckpointDirectory,
  names: Iterable<string>,
  write: (file: WritableFile, name: string) => Promise<void>,
): Promise<void> {
  const files: WritableFile[] = [];
  try {
    for (const name of names) {
      const file = await directory.create(name);
      files.push(file);
      await write(file, name);
      await file.finish();
    }
    for (const file of files) await file.commit();
  } catch (error) {
    await Promise.allSettled(files.map((file) => file.discard()));
    throw error;
  }
}
