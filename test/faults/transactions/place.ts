import type { Place as StaffPlace } from '../harness/staff.ts'
import type { House, Transfer } from './bank.ts'

export type Role = 'desk' | House
/** Where a server is: the vault of the south has one and no processes of its own. */
export type Site = Role | 'vault'

/** The addresses of the servers; plain data, to be sent to workers. The log of messages is in that of the desk. */
export type Urls = Readonly<Record<Role, string>> & { readonly vault: string | undefined }

export interface Post extends StaffPlace<Role> {
  readonly urls: Urls
}

/**
 * Which step of a process is meant: the n-th statement, commit or preparation from now on, or the n-th of those alone whose
 * text begins so. `DECISION`: the write that asks for the first confirmation.
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
  /** Stand still at a step of your own choice: see `Orders.linger` of the harness. */
  | { readonly do: 'linger'; readonly ms: number; readonly blocks: boolean }
  | { readonly do: 'tell' }
  /** How likely a message leaves its outbox twice, the second time late. */
  | { readonly do: 'repeat'; readonly chance: number }
  /** Run the code of a transfer: for desks. */
  | { readonly do: 'pay'; readonly id: string; readonly input: Transfer }
