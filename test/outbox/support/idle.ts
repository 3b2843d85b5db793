import { setImmediate } from 'node:timers/promises'
import type { SqlClient, SqlListener } from 'concordat/core'
import { FakeClock } from '../../support/locks/fake-clock.ts'

const STEP_MS = 10

/** Clock of an idle program, and the statements that it sends as time passes. */
export class IdleTime {
  readonly clock = new FakeClock()
  readonly texts: string[] = []
  readonly sql: SqlClient
  #pending = 0

  constructor(sql: SqlClient) {
    this.sql = {
      ...sql,
      query: async (text, parameters) => {
        this.texts.push(text)
        this.#pending++
        try {
          return await sql.query(text, parameters)
        } finally {
          this.#pending--
        }
      },
    }
  }

  /** Advances the time in small steps; each statement is answered before the next. @returns the number of statements */
  async pass(durationMs: number): Promise<number> {
    const before = this.texts.length
    for (let at = 0; at < durationMs; at += STEP_MS) {
      await this.clock.advance(STEP_MS)
      do await setImmediate()
      while (this.#pending > 0)
    }
    return this.texts.length - before
  }
}

/** Listener that the test notifies. */
export class SaidListener implements SqlListener {
  readonly backend: number | undefined
  readonly #hears = new Set<(payload: string) => void>()

  constructor(backend: number | undefined) {
    this.backend = backend
  }

  say(payload: string): void {
    for (const hear of this.#hears) hear(payload)
  }

  listen(_channel: string, onNotify: (payload: string) => void): () => void {
    this.#hears.add(onNotify)
    return () => void this.#hears.delete(onNotify)
  }

  async close(): Promise<void> {}
}
