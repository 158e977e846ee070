/**
 * A contestant as a process. In: a command. Out: a partner that is asked one thing at a time. One that ends or takes too
 * long has failed, with the end of what it wrote to standard error; the bench goes on.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Command } from "../contestants/command.ts";
import type { Partner, Reply, Request } from "./protocol.ts";

const KEPT_CHARACTERS = 4000;

/** Stopping a process is a signal that Windows does not have; there it goes on waiting. */
const canPause = process.platform !== "win32";

export class ChildPartner implements Partner {
  readonly #child: ChildProcess;
  readonly #limitSeconds: number;
  #errors = "";
  #waiting: ((reply: Reply) => void) | undefined;
  #ended: Reply | undefined;

  constructor(command: Command, limitSeconds: number) {
    this.#limitSeconds = limitSeconds;
    this.#child = spawn(command.file, command.args, {
      stdio: ["pipe", "ignore", "pipe", "pipe"],
      env: { ...process.env, ...command.env },
    });
    this.#child.stderr!.on("data", (text: Buffer) => {
      this.#errors = (this.#errors + text.toString()).slice(-KEPT_CHARACTERS);
    });
    // Writing to a process that has ended is reported here; its end is reported below.
    this.#child.stdin!.on("error", () => undefined);
    const replies = createInterface({ input: this.#child.stdio[3] as Readable });
    replies.on("line", (line) => this.#settle(JSON.parse(line) as Reply));
    this.#child.on("error", (error: NodeJS.ErrnoException) => {
      const reason = error.code === "ENOENT" ? `${command.file} is not installed` : error.message;
      this.#end({ kind: error.code === "ENOENT" ? "absent" : "failed", reason });
    });
    this.#child.on("close", (code, signal) => {
      const how = signal === null ? `ended with status ${code}` : `was ended by ${signal}`;
      this.#end({ kind: "failed", reason: `the process ${how}. ${this.#errors.trim()}` });
    });
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(reply);
  }

  #end(reply: Reply): void {
    this.#ended ??= reply;
    this.#settle(this.#ended);
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  async ask(request: Request): Promise<Reply> {
    if (this.#ended) return this.#ended;
    const answer = new Promise<Reply>((resolve) => (this.#waiting = resolve));
    this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    const timer = setTimeout(() => {
      this.#end({
        kind: "failed",
        reason: `no answer to "${request.what}" within ${this.#limitSeconds} s`,
      });
      this.close();
    }, this.#limitSeconds * 1e3);
    const reply = await answer;
    clearTimeout(timer);
    return reply;
  }

  pause(): void {
    if (canPause && !this.#ended) this.#child.kill("SIGSTOP");
  }

  resume(): void {
    if (canPause && !this.#ended) this.#child.kill("SIGCONT");
  }

  close(): void {
    this.#child.kill("SIGKILL");
  }
}
