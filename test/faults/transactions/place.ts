import type { Place as StaffPlace } from '../harness/staff.ts'
import type { House, Transfer } from './bank.ts'

export type Role = 'desk' | House
/** Places of servers: the vault of the south has a server and no processes of its own. */
export type Site = Role | 'vault'

/** Addresses of the servers; plain data that is sent to workers. The log of messages is in the desk's database. */
export type Urls = Readonly<Record<Role, string>> & { readonly vault: string | undefined }

export interface Post extends StaffPlace<Role> {
  readonly urls: Urls
}

/**
 * A step of a process: the n-th statement, commit or preparation from now on, or the n-th whose text begins with
 * `text`. `DECISION`: the write that requests the first confirmation.
 */
export interface Moment {
  readonly nth: number
  readonly when: 'before' | 'after'
  readonly of?: string | undefined
}

export type Order =
  | ({ readonly do: 'begin' } & Post)
  /** `kill -9` of oneself. */
  | { readonly do: 'die'; readonly at: Moment }
  /** Pause at a step of the process' own choice: see `Orders.linger` of the harness. */
  | { readonly do: 'linger'; readonly ms: number; readonly blocks: boolean }
  | { readonly do: 'tell' }
  /** Probability that a message leaves its outbox twice, the second time late. */
  | { readonly do: 'repeat'; readonly chance: number }
  /** Run the code of a transfer: for desks. */
  | { readonly do: 'pay'; readonly id: string; readonly input: Transfer }
