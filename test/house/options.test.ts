import { PGlite } from '@electric-sql/pglite'
import { migrate, resolveBackoff } from 'concordat/core'
import { pgClient, pgListener } from 'concordat/core/pg'
import { pgliteClient } from 'concordat/core/pglite'
import { describe, expect, it } from 'vitest'

/** What plain JavaScript can do: call anything with anything. */
const js = (value: unknown): never => value as never

interface Mistake {
  readonly what: string
  readonly call: () => unknown
  readonly says: string
}

const mistake = (what: string, call: () => unknown, says: string): Mistake => ({ what, call, says })

const pool = { query: async () => ({}), connect: async () => ({}), on: () => undefined }

const CORE: readonly Mistake[] = [
  mistake('an unknown option of backoff', () => resolveBackoff('retry', js({ maxms: 5 })), 'Did you mean "maxMs"?'),
  mistake('backoff that is no object', () => resolveBackoff('retry', js(5)), 'retry: expected an object of options'),
  mistake('an unknown option of pgClient', () => pgClient(js(pool), js({ log: 1 })), 'pgClient.log: expected one of'),
  mistake('pgClient of an address', () => pgClient(js('postgres://u:secret@h/d')), 'new pg.Pool({ connectionString })'),
  mistake('pgClient of nothing', () => pgClient(js(undefined)), 'pgClient: expected a pool'),
  mistake('an unknown option of pgListener', () => pgListener(js({ conect: 1 })), 'Did you mean "connect"?'),
  mistake('pgListener without connect', () => pgListener(js({})), 'pgListener.connect: expected a function such as'),
  mistake('pgliteClient of nothing', () => pgliteClient(js({})), 'pgliteClient: expected a PGlite'),
  mistake(
    'pgliteClient of a promise',
    () => pgliteClient(js(Promise.resolve())),
    'got a promise: is an "await" missing?',
  ),
  mistake('migrate on a pool', () => migrate(js(pool), 's', 'p', []), 'expected a SqlClient such as pgClient(pool)'),
]

describe('a mistake of the caller is refused, with what was expected:', () => {
  it.for(CORE)('core: $what', ({ call, says }) => refused(call, says))

  it('core: migrate on a bare PGlite', async () => {
    const bare = new PGlite()
    await refused(() => migrate(js(bare), 's', 'p', []), 'expected a SqlClient such as pgClient(pool)')
    await bare.close()
  })
})

it('never shows what is in a value that may hold a password', () => {
  expect(() => pgClient(js('postgres://u:secret@h/d'))).toThrow(/got a string$/)
})

async function refused(call: () => unknown, says: string): Promise<void> {
  const error = await (async () => call())().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(TypeError)
  expect((error as TypeError).message).toContain(says)
}
