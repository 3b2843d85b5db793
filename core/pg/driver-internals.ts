/** The part of `pg` below its `query`: the object that sends a statement and reads the responses. */

/** The part of `pg`'s query object that its client uses. */
export interface DriverQuery {
  readonly text: unknown
  readonly name?: string | undefined
  readonly _result?: { _types?: unknown } | undefined
  binary?: boolean
  callback: Answer | undefined
  requiresPreparation(): boolean
  submit(connection: Wire): Error | null
  handleRowDescription(message: unknown): void
  handleDataRow(message: unknown): void
  handleCommandComplete(message: unknown, connection: Wire): void
  handleEmptyQuery(connection: Wire): void
  handlePortalSuspended(connection: Wire): void
  handleCopyInResponse(connection: Wire): void
  handleCopyData(message: unknown, connection: Wire): void
  handleError(error: Error, connection: Wire): void
  handleReadyForQuery(connection: Wire): void
}

export type Answer = (error: Error | null, result?: unknown) => void

/** The part of `pg`'s `Connection` that is used. */
export interface Wire {
  readonly stream: { write(chunk: Uint8Array): unknown; cork?(): void; uncork?(): void; destroy(error: Error): void }
  parse(statement: { readonly text: string }): void
  bind(portal: object): void
  execute(portal: object): void
  sync(): void
  close(statement: object): void
}

export interface Statement {
  readonly text: string
  readonly values: unknown[]
  readonly name?: string | undefined
}

type DriverQueryClass = new (statement: Statement) => DriverQuery

/** `undefined` if it is not a `pg.Client`, or one in pipeline mode, which only accepts its own statements. */
export function queryClassOf(connection: object): DriverQueryClass | undefined {
  const { Query } = connection.constructor as { readonly Query?: DriverQueryClass }
  if (typeof Query?.prototype?.requiresPreparation !== 'function') return undefined
  return (connection as { readonly pipeline?: boolean }).pipeline === true ? undefined : Query
}
