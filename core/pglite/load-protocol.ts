/** PGlite's own implementation of PostgreSQL's protocol, loaded with the first statement. */

export interface PgliteResult {
  readonly rows: unknown[]
  readonly affectedRows?: number | undefined
}

/** A message from PostgreSQL. */
export interface Message {
  /** Such as `rowDescription` and `commandComplete`. */
  readonly name: string
  /** Tag of a completed command. */
  readonly text?: string | undefined
}

type Target = { readonly type: 'S' | 'P'; readonly name?: string }

/** The part that is used. */
export interface Protocol {
  readonly serialize: {
    parse(statement: { readonly name: string; readonly text: string }): Uint8Array
    describe(target: Target): Uint8Array
    bind(portal: { readonly statement: string; readonly values: ReadonlyArray<string | Uint8Array | null> }): Uint8Array
    execute(portal: object): Uint8Array
    close(target: Target): Uint8Array
    query(text: string): Uint8Array
    sync(): Uint8Array
  }
  parseResults(messages: readonly Message[], parsers: Parsers): readonly PgliteResult[]
  parseDescribeStatementResults(messages: readonly Message[]): readonly number[]
  /** PGlite's own parsers, by type. */
  readonly parsers: Parsers
}

/** Parsers for the text of a value, by the number of its type. */
export type Parsers = Readonly<Record<number, (text: string) => unknown>>

let loaded: Promise<Protocol | undefined> | undefined

/** Undefined if `@electric-sql/pglite` cannot be imported from here. */
export function protocolOfPglite(): Promise<Protocol | undefined> {
  loaded ??= import('@electric-sql/pglite').then(
    ({ protocol, parse, types }) =>
      ({ serialize: protocol.serialize, ...parse, parsers: types.parsers }) as unknown as Protocol,
    () => undefined,
  )
  return loaded
}
