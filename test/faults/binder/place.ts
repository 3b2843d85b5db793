/** Transports of a run that plays on all of them. */
export const TOGETHER = ['rabbitmq', 'kafka', 'postgres'] as const
/** `pgbouncer`: PostgreSQL behind a pool in transaction mode. */
export const TRANSPORTS = [...TOGETHER, 'pgbouncer'] as const
export type TransportName = (typeof TRANSPORTS)[number]

/** Roles of a process. `drifter`: a consumer that joins and leaves on command. */
export type Role = 'sender' | 'consumer' | 'drifter'

/** Description of a process and its place; plain data that is sent to it. */
export interface Post {
  readonly role: Role
  readonly name: string
  readonly transport: TransportName
  /** Port of its own link to the broker. */
  readonly port: number
  /** The file of its history. */
  readonly history: string
  readonly seed: string
  readonly broken: string | undefined
}

/**
 * Points at which a handler pauses: in the middle of its work, there in a transaction that has read the log, or in the
 * transaction of an entry, before or after its position was written.
 */
export type Lingers = 'work' | 'transaction' | 'before its place' | 'after its place'

export type Order =
  | ({ readonly do: 'begin' } & Post)
  /** Sends messages 0, 1, 2, ... of each key, each until it is accepted, under one id; `delayed` keys with a delay. */
  | { readonly do: 'send'; readonly keys: readonly string[]; readonly delayed: readonly string[] }
  /** Sends nothing new, and reports when every started send was accepted. */
  | { readonly do: 'rest' }
  /** Reports and waits in the next handler. 0 ms: a waiting handler continues. */
  | { readonly do: 'linger'; readonly ms: number; readonly where: Lingers }
  /** Each handler call of the first stage blocks the event loop for this long. */
  | { readonly do: 'burn'; readonly ms: number }
  /** Joins and leaves this number of times. */
  | { readonly do: 'drift'; readonly times: number; readonly everyMs: number }
  /** Reports when every binding runs and the broker answers. */
  | { readonly do: 'report' }
