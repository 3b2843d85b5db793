/**
 * Files that `npm test` runs in about five minutes: every file that is not long, and one file for each kind of server.
 * With\n`CONCORDAT_REQUIRE_SERVERS=1`, as `.ci/run` sets it, and by `vitest run` itself everything runs.
 */
import { readSeconds, type Seconds } from './seconds.ts'

/** The mode in which `npm test` starts vitest. */
export const QUICK_MODE = 'quick'

/** A file that takes longer, by the table of `npm run test:times`, is left out. */
export const LONG_SECONDS = 10

/** Files that show that each available server works with its adapter. */
export const SMOKE: readonly string[] = [
  'test/outbox/order.int.test.ts',
  'test/locks/redis/driver.int.test.ts',
  'test/binder/rabbitmq/subscribe.int.test.ts',
  'test/binder/kafka/held.int.test.ts',
  'test/saga/mysql2/two-databases.int.test.ts',
]

/** @param files paths from the root of the repository */
export function quickOf(files: readonly string[], seconds: Seconds = readSeconds()): readonly string[] {
  return files.filter((file) =>
    file.endsWith('.int.test.ts') ? SMOKE.includes(file) : (seconds[file] ?? 0) <= LONG_SECONDS,
  )
}
