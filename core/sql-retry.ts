import { setTimeout as pause } from 'node:timers/promises'
import { hasCode } from './errors.ts'

const SERIALIZATION_FAILURE = '40001'
const MOST_TRIES = 20
const LONGEST_PAUSE_MS = 50

/**
 * Runs a statement that is a transaction by itself, again when another one was faster: it has done nothing then. Under READ
 * COMMITTED that never happens. Where the database or the role has `default_transaction_isolation` set higher, it happens
 * to whatever two processes write at the same time.
 * @throws what the last try threw
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
