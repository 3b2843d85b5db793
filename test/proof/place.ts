import type { Grant } from './run/grants.ts'

export const TRANSPORTS = ['rabbitmq', 'kafka', 'postgres'] as const
export type TransportName = (typeof TRANSPORTS)[number]

/**
 * - `publisher`: sends orders, every other one through an outbox.
 * - `orders`: handles them with an inbox and coordinates a saga for each.
 * - `payments`, `stock`: participants.
 * - `receipts`: handles the end of each order with an inbox.
 * - `clerk`: contends for a lock, and writes behind its fence.
 */
export const ROLES = ['publisher', 'orders', 'payments', 'stock', 'receipts', 'clerk'] as const
export type Role = (typeof ROLES)[number]

/** Addresses of a run's servers; plain data that is sent to its processes. */
export interface Place {
  /** A database for the shop, for the payments and for the stock, of one server. */
  readonly shop: string
  readonly payments: string
  readonly stock: string
  readonly redis: string
  /** Broker's address; on `postgres` it is the database of the shop. */
  readonly broker: { readonly kind: TransportName; readonly url: string }
}

export interface Post {
  readonly role: Role
  /** `orders-2`: the second process of that role, whichever process it is by now. */
  readonly name: string
  /** Number of the process, from 0. */
  readonly number: number
  readonly place: Place
  readonly broken: string | undefined
}

export type Order =
  | ({ readonly do: 'begin' } & Post)
  /** Orders up to this one may be sent. */
  | ({ readonly do: 'grant' } & Grant)
  /** Say how much memory you have. */
  | { readonly do: 'memory' }
