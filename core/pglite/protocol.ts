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
  parseResults(messages: readonly Message[], parsers: unknown): readonly PgliteResult[]
  parseDescribeStatementResults(messages: readonly Message[]): readonly number[]
}

let loaded: Promise<Protocol | undefined> | undefined

/** Undefined: there is no `@electric-sql/pglite` to be imported from here. */
export function protocolOfPglite(): Promise<Protocol | undefined> {
  loaded ??= import('@electric-sql/pglite').then(
    ({ protocol, parse }) => ({ serialize: protocol.serialize, ...parse }) as unknown as Protocol,
    () => undefined,
  )
  return loaded
}
