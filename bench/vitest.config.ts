// Tests of the bench's own arithmetic; nothing is timed in them.
// In: nothing. Out: the settings of every package of the repository.
export { default } from "../vitest.shared.ts";
