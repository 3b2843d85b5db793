import { setTimeout as pause } from 'node:timers/promises'
import { hasCode } from './errors.ts'

const SERIALIZATION_FAILURE = '40001'
const MOST_TRIES = 20
const LONGEST_PAUSE_MS = 50

/**
 * Runs a statement that is its own transaction, and repeats it if another transaction was faster: it then had no effect. This
 * never happens under READ COMMITTED. If the database or the role has a stricter `default_transaction_isolation`, it happens
 * whenever two processes write at the same time.
 * @throws the error of the last attempt
 */
export async function repeatable<T>(statement: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await statement()
    } catch (error) {
      if (tries === MOST_TRIES || !hasCode(error, SERIALIZATION_FAILURE)) throw error
      await pause(Math.random() * Math.min(2 ** tries, LONGEST_PAUSE_MS))
    }
  }
}
