/**
 * Checkpoint files on this machine. In: paths. Out: the byte sources and directories that the rest of the
 * package works on, with CheckpointErrors in place of system errors. The only file of the package that
 * imports `node:` modules; import it as `@millrace/model-v3/node`.
 */
import { constants } from "node:fs";
import { mkdir, mkdtemp, open, readdir, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { CheckpointError } from "@millrace/graph";
import type { ByteSource, CheckpointDirectory, WritableFile } from "./checkpoint/byte-source.ts";
import { parseJson, pastTheEnd, readJson, readText } from "./checkpoint/byte-source.ts";
import { openSafetensors } from "./checkpoint/safetensors.ts";
import type { SafetensorsFile } from "./checkpoint/safetensors.ts";
import { openShards } from "./checkpoint/shards.ts";
import type { TensorSource } from "./checkpoint/tensor-source.ts";
import type { ModelConfig } from "./config.ts";
import type { GenerationConfig } from "./generation-config.ts";
import { parseGenerationConfig } from "./generation-config.ts";
import { parseConfig } from "./parse-config.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { byteTokenizer, parseTokenizer } from "./tokenizer.ts";

/** One system call moves at most this much; larger ones fail on some systems. */
const maxTransfer = 2 ** 30;

const remedies: Record<string, string> = {
  ENOENT: "Check the path.",
  EEXIST: "Choose another place; there is a file where a folder is needed.",
  ELOOP: "Check the path; its symbolic links go round in circles.",
  EACCES: "Change its permissions, or choose another place.",
  EPERM: "Change its permissions, or choose another place.",
  EISDIR: "Name a file, not a folder.",
  ENOTDIR: "Name a folder, not a file.",
  EMFILE: "Raise the limit on open files (ulimit -n).",
  ENOSPC: "Free some disk space and try again; what was there before is unchanged.",
  EDQUOT: "Free some of your disk quota and try again; what was there before is unchanged.",
  EFBIG: "Raise the limit on file sizes (ulimit -f), or choose a smaller maxShardBytes.",
  EROFS: "Choose a place that can be written to.",
};

/** A failed system call as a CheckpointError with a remedy. */
export function fileError(cause: unknown, doing: string, path: string): CheckpointError {
  if (cause instanceof CheckpointError) return cause;
  const { code = "", message } = cause as NodeJS.ErrnoException;
  const full = code === "ENOSPC" || code === "EDQUOT" ? ": the disk is full" : "";
  return new CheckpointError({
    what: `${doing} failed${full} (${code || message})`,
    where: path,
    hint: remedies[code] ?? "Check the file system and try again.",
    cause,
  });
}

async function attempt<T>(doing: string, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw fileError(cause, doing, path);
  }
}

/** Opening a pipe would wait for its writer; this way it opens, and is then refused. Files read the same either way. */
const readFlags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** Opens a file for random access. */
export async function openFile(path: string): Promise<ByteSource> {
  const handle = await attempt("opening", path, () => open(path, readFlags));
  try {
    const { size } = await attempt("opening", path, async () => {
      const found = await handle.stat();
      if (!found.isFile())
        throw new CheckpointError({
          what: "this is not a regular file",
          where: path,
          hint: "Name a file, not a folder or a device.",
        });
      return found;
    });
    return fileSource(path, handle, size);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function fileSource(path: string, handle: FileHandle, byteLength: number): ByteSource {
  return {
    name: path,
    byteLength,
    async read(offset, length) {
      if (offset + length > byteLength) throw pastTheEnd(path, offset, length);
      const bytes = allocate(path, length);
      for (let done = 0; done < length;) {
        const { bytesRead } = await attempt("reading", path, () =>
          handle.read(bytes, done, Math.min(length - done, maxTransfer), offset + done),
        );
        if (bytesRead === 0) throw pastTheEnd(path, offset, length);
        done += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}

/** Room for a part of a file; files may be larger than memory, and than any array. */
function allocate(path: string, length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new CheckpointError({
      what: `${length} bytes of the file do not fit into memory at once`,
      where: path,
      hint: "Split its largest tensors, or use a machine with more memory.",
      cause,
    });
  }
}

/**
 * Makes a folder and those above it. Node's own recursive `mkdir` never ends where a file system says of a folder that is
 * there that it is not, as under /proc.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return;
    const parent = dirname(path);
    if (code !== "ENOENT" || (await exists(parent))) throw cause;
    await makeFolder(parent);
    await makeFolder(path);
  }
}

/** A file is put in place by a rename, which would put it in the place of a device such as /dev/null too. */
async function expectReplaceable(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || found.isFile()) return;
  throw new CheckpointError({
    what: "there is something that is not a regular file",
    where: path,
    hint: "Choose another place to write to.",
  });
}

/** A folder on disk. Files appear in it whole: written aside, made durable, then renamed. */
export function nodeDirectory(path: string): CheckpointDirectory {
  return {
    name: path,
    async open(file) {
      const full = join(path, file);
      try {
        return await openFile(full);
      } catch (error) {
        const cause = (error as CheckpointError).cause as NodeJS.ErrnoException | undefined;
        if (cause?.code === "ENOENT") return undefined;
        throw error;
      }
    },
    async create(file) {
      const full = join(path, file);
      await attempt("creating the folder", path, () => makeFolder(path));
      await attempt("creating", full, () => expectReplaceable(full));
      const temporary = join(path, `.${file}.${process.pid}.partial`);
      const handle = await attempt("creating", full, () => open(temporary, "w"));
      return writableFile(full, temporary, handle);
    },
    remove: (file) =>
      attempt("removing", join(path, file), () => rm(join(path, file), { force: true })),
    async list() {
      const found = await attempt("listing", path, () => readdir(path, { withFileTypes: true }));
      return found.filter((entry) => entry.isFile()).map((entry) => entry.name);
    },
  };
}

function writableFile(path: string, temporary: string, handle: FileHandle): WritableFile {
  let isOpen = true;
  const closeOnce = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await handle.close();
  };
  return {
    name: path,
    async write(bytes) {
      for (let done = 0; done < bytes.byteLength;) {
        const { bytesWritten } = await attempt("writing", path, () =>
          handle.write(bytes, done, Math.min(bytes.byteLength - done, maxTransfer)),
        );
        done += bytesWritten;
      }
    },
    finish: () =>
      attempt("writing", path, async () => {
        await handle.sync();
        await closeOnce();
      }),
    commit: () =>
      attempt("renaming", path, async () => {
        await rename(temporary, path);
        await syncFolder(dirname(path));
      }),
    async discard() {
      await closeOnce();
      await rm(temporary, { force: true });
    },
  };
}

/** Makes renames in a folder durable; a no-op where folders cannot be opened (Windows). */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes a new folder whole or not at all: `write` fills a folder beside it, which is then renamed. A
 * folder that had the name is replaced; killed at any moment, the old one, the new one, or (between two
 * renames) the old one under `<name>.previous` is there.
 */
export async function writeFolder(
  path: string,
  write: (directory: CheckpointDirectory) => Promise<void>,
): Promise<void> {
  const parent = dirname(path);
  await attempt("creating the folder", parent, () => makeFolder(parent));
  const temporary = await attempt("creating a folder", parent, () =>
    mkdtemp(join(parent, `.${basename(path)}.partial-`)),
  );
  const previous = `${path}.previous`;
  try {
    await write(nodeDirectory(temporary));
    await attempt("replacing the folder", path, async () => {
      await syncFolder(temporary);
      // Without a folder of the name, `.previous` may be all that an interrupted call has left.
      if (await exists(path)) {
        await rm(previous, { recursive: true, force: true });
        await rename(path, previous);
      }
      await rename(temporary, path);
      await syncFolder(parent);
      await rm(previous, { recursive: true, force: true });
    });
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** A model folder, opened: its configuration, its weights (lazily) and its tokenizer. */
export interface Checkpoint {
  readonly directory: CheckpointDirectory;
  readonly config: ModelConfig;
  readonly weights: TensorSource;
  close(): Promise<void>;
}

/** Opens a folder with `config.json` and weights in one file or in shards. */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const directory = nodeDirectory(path);
  const found = await attempt("opening", path, () => stat(path));
  if (!found.isDirectory())
    throw new CheckpointError({
      what: "this is not a folder",
      where: path,
      hint: "Name the folder of a checkpoint in Hugging Face layout.",
    });
  const config = await readConfig(path);
  const weights = await openShards(directory);
  return { directory, config, weights, close: () => weights.close() };
}

/** Opens one safetensors file. */
export async function openSafetensorsFile(path: string): Promise<SafetensorsFile> {
  const source = await openFile(path);
  try {
    return await openSafetensors(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Reads the configuration of a model folder, or of a `config.json` named directly. */
export async function readConfig(path: string): Promise<ModelConfig> {
  const found = await attempt("opening", path, () => stat(path));
  const [folder, file] = found.isDirectory()
    ? [path, "config.json"]
    : [dirname(path), basename(path)];
  const text = await readText(nodeDirectory(folder), file);
  if (text === undefined)
    throw new CheckpointError({
      what: "there is no config.json",
      where: path,
      hint: "Name the folder of a checkpoint in Hugging Face layout.",
    });
  const where = join(folder, file);
  return parseConfig(parseJson(text, where), where);
}

/** The tokenizer of a model folder: its `tokenizer.json`, or bytes where it has none. */
export async function readTokenizer(path: string): Promise<Tokenizer> {
  const directory = nodeDirectory(path);
  const json = await readJson(directory, "tokenizer.json");
  if (json === undefined) return byteTokenizer();
  const config = await readJson(directory, "tokenizer_config.json");
  return parseTokenizer(json, config ?? {}, join(path, "tokenizer.json"));
}

/** What a model folder's `generation_config.json` says of how to choose tokens; undefined where it has none. */
export async function readGenerationConfig(path: string): Promise<GenerationConfig | undefined> {
  const file = "generation_config.json";
  const json = await readJson(nodeDirectory(path), file);
  return json === undefined ? undefined : parseGenerationConfig(json, join(path, file));
}
