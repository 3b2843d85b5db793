import type { SqlClient, SqlTransaction } from 'concordat/core'

/** A database that refuses some statements: `refuses` gives the error, or `undefined` to let the statement through. */
export function refusingSql(
  inner: SqlClient,
  refuses: (text: string, parameters: readonly unknown[]) => Error | undefined,
): SqlClient {
  const checked =
    (query: SqlTransaction['query']): SqlTransaction['query'] =>
    async (text, parameters = []) => {
      const error = refuses(text, parameters)
      if (error !== undefined) throw error
      return query(text, parameters)
    }
  return {
    ...inner,
    query: checked(inner.query.bind(inner)),
    transaction: (work, limits) =>
      inner.transaction((tx) => {
        const { last: _, batch: __, ...rest } = tx
        return work({ ...rest, query: checked(tx.query.bind(tx)) })
      }, limits),
  }
}

/** Makes an error like a server's. */
export function serverError(code: string, message: string, fields: object = {}): Error {
  return Object.assign(new Error(message), { code, ...fields })
}

/** A database whose encoding has no emoji. */
export function latin1(inner: SqlClient): SqlClient {
  const message =
    'character with byte sequence 0xf0 0x9f 0x98 0x80 in encoding "UTF8" has no equivalent in encoding "LATIN1"'
  return refusingSql(inner, (_, parameters) => (parameters.some(hasEmoji) ? serverError('22P05', message) : undefined))
}

function hasEmoji(parameter: unknown): boolean {
  const text = Array.isArray(parameter) ? parameter.join() : parameter
  return typeof text === 'string' && (/\p{Extended_Pictographic}/u.test(text) || /\\ud83d/i.test(text))
}
