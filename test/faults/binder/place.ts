/** Those of a run on all of them. */
export const TOGETHER = ['rabbitmq', 'kafka', 'postgres'] as const
/** `pgbouncer`: PostgreSQL behind a pool in transaction mode. */
export const TRANSPORTS = [...TOGETHER, 'pgbouncer'] as const
export type TransportName = (typeof TRANSPORTS)[number]

/** `drifter`: a consumer that comes and goes when it is told to. */
export type Role = 'sender' | 'consumer' | 'drifter'

/** What a process is and where; plain data, to be sent to it. */
export interface Post {
  readonly role: Role
  readonly name: string
  readonly transport: TransportName
  /** Its own link to the broker. */
  readonly port: number
  /** The file of its history. */
  readonly history: string
  readonly seed: string
  readonly broken: string | undefined
}

/**
 * Where a handler stands still: in the middle of its work, there in a transaction that has read the log, or in the
 * transaction of an entry, before or after its place was written.
 */
export type Lingers = 'work' | 'transaction' | 'before its place' | 'after its place'

export type Order =
  | ({ readonly do: 'begin' } & Post)
  /** Sends messages 0, 1, 2, ... of each key, each until it is accepted, under one id; those of `delayed` for later. */
  | { readonly do: 'send'; readonly keys: readonly string[]; readonly delayed: readonly string[] }
  /** Sends nothing new, and tells when everything begun was accepted. */
  | { readonly do: 'rest' }
  /** In the next handler: tell, and wait. 0 ms: who waits goes on. */
  | { readonly do: 'linger'; readonly ms: number; readonly where: Lingers }
  /** Each handler call of the first stage takes so much of the processor, and does not yield. */
  | { readonly do: 'burn'; readonly ms: number }
  /** Joins and leaves so many times. */
  | { readonly do: 'drift'; readonly times: number; readonly everyMs: number }
  /** Tells when every binding runs and the broker answers. */
  | { readonly do: 'report' }
