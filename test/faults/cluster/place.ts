export const TRANSPORTS = ['redis', 'rabbitmq', 'kafka'] as const
export type TransportName = (typeof TRANSPORTS)[number]

/** A node, and the link under which clients reach it. */
export interface Reached {
  readonly port: number
  readonly via: number
}

/** The brokers of a run as its processes connect; plain data. */
export type BrokerAddress =
  | { readonly kind: 'kafka'; readonly nodes: readonly Reached[] }
  | { readonly kind: 'rabbitmq'; readonly nodes: readonly Reached[] }

/** `contender`: for a lock, and a candidate for a role. */
export type Role = 'sender' | 'consumer' | 'contender'

/** Addresses of a run's servers; plain data that is sent to workers. */
export interface Place {
  /** Link to the current primary, like a proxy or a virtual address elsewhere. */
  readonly postgresUrl: string
  /** The two servers, whichever is the primary. */
  readonly postgresUrls: readonly string[]
  readonly broker?: BrokerAddress | undefined
  readonly redis?: { readonly name: string; readonly sentinels: readonly number[]; readonly nodes: readonly Reached[] }
}

export interface Post {
  readonly role: Role
  readonly name: string
  readonly place: Place
  /** Partitions of the topic of messages. */
  readonly partitions: number
  readonly history: string
  readonly seed: string
  readonly broken: string | undefined
}

export type Order =
  | ({ readonly do: 'begin' } & Post)
  /** Works on keys of this prefix from now on. */
  | { readonly do: 'go'; readonly prefix: string }
  /** Starts nothing new, and reports when every started send was accepted. */
  | { readonly do: 'rest' }
