/**
 * The `millrace` command. In: the process's arguments. Out: its exit status: 0 done, 1 an error, 2 bad usage. Data goes to
 * stdout, progress and errors to stderr.
 */
import { runCli } from "./program.ts";

process.stdout.on("error", ({ code, message }: NodeJS.ErrnoException) => {
  // A reader that stops early (`millrace … | head`) is no error.
  if (code === "EPIPE") process.exit(0);
  process.stderr.write(
    `millrace: writing the output failed (${code ?? message}). Write it to another place.\n`,
    () => process.exit(1),
  );
});
// Nobody reads the progress any more; what it tells of goes on.
process.stderr.on("error", () => undefined);

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
});
