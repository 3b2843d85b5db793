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

export type Order =
  | ({ readonly do: 'begin' } & Post)
  /** Sends messages 0, 1, 2, ... of each key, each until it is accepted, under one id; those of `delayed` for later. */
  | { readonly do: 'send'; readonly keys: readonly string[]; readonly delayed: readonly string[] }
  /** Sends nothing new, and tells when everything begun was accepted. */
  | { readonly do: 'rest' }
  /** In the middle of the next handler: tell, and wait; in a transaction of the broker's database, where it has one. */
  | { readonly do: 'linger'; readonly ms: number; readonly inTransaction: boolean }
  /** Joins and leaves so many times. */
  | { readonly do: 'drift'; readonly times: number; readonly everyMs: number }
  /** Tells when every binding runs and the broker answers. */
  | { readonly do: 'report' }
