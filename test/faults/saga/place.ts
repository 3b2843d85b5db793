import type { BrokerAddress } from '../cluster/place.ts'

export const BROKERS = ['rabbitmq', 'kafka', 'postgres'] as const
export type BrokerKind = (typeof BROKERS)[number]

export type Role = 'coordinator' | 'debit' | 'credit'

/** Addresses of a run's servers; plain data that is sent to workers. */
export interface Place {
  /** The databases: of the coordinators and the accounts that pay, of the accounts that are paid. */
  readonly here: string
  readonly there: string
  /** Broker's address; `postgres` is the database in `here`. */
  readonly broker: { readonly kind: BrokerKind; readonly url: string } | ClusterBroker
}

/** The nodes of a cluster, each behind a link. */
export interface ClusterBroker {
  readonly kind: 'cluster'
  readonly address: BrokerAddress
}

export interface Post {
  readonly role: Role
  readonly name: string
  readonly place: Place
  /** The file of its history. */
  readonly history: string
  readonly seed: string
  readonly broken: string | undefined
}

export type Order =
  | ({ readonly do: 'begin' } & Post)
  /**
   * Report and pause for `ms` in the middle of the next local step or handler, its effect written and nothing
   * committed.\n`blocks`: the whole process, so that it can hear nothing more. 0 ms: cancel, or continue.
   */
  | { readonly do: 'linger'; readonly ms: number; readonly blocks: boolean }
  /** Report the current work, for a person who debugs a standstill. */
  | { readonly do: 'tell' }
  /** Participants fail each command for an account whose name ends with `accounts`; `undefined`: no command. */
  | { readonly do: 'fail'; readonly accounts: string | undefined }
  /** Probability that a message leaves its outbox twice, the second time late. */
  | { readonly do: 'repeat'; readonly chance: number }
