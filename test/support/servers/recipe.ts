import type { ServerKind } from './kinds.ts'

/** Time limit for one step of a ping: on a loaded machine a running server may need seconds to greet. */
export const PING_STEP_MS = 10_000

/** A test runs, or a process that it started: rather than a benchmark, or `npm run servers`. */
export const isTest = process.env['VITEST'] !== undefined

/** Where one private server lives. */
export interface Site {
  /** Its own folder: data, configuration, log. Removed with the server, unless it is kept. */
  readonly folder: string
  readonly isKept: boolean
  /** The port that clients use. */
  readonly port: number
  /** A second port for the server's own use (Kafka's controller, Erlang's distribution). */
  readonly innerPort: number
  /** More settings under the server's own names, e.g. `{ appendonly: 'yes' }` for Redis. */
  readonly settings: Readonly<Record<string, string>>
  /** Passwords by user name. */
  readonly users: Readonly<Record<string, string>>
  /** Added to the environment of its processes. */
  readonly env: Readonly<Record<string, string>>
}

/** A user to run a command as; absent means the current one. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

export interface Command {
  readonly file: string
  readonly args: readonly string[]
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
  readonly account?: Account | undefined
}

/** How to run one kind of server from the programs installed on this machine. */
export interface Recipe {
  readonly kind: ServerKind
  /** Ends the server at once and lets it free what the system would not (PostgreSQL: shared memory). */
  readonly stopSignal: 'SIGKILL' | 'SIGQUIT'
  /**
   * Makes sure that everything it needs is on this machine and fetches what can be fetched.
   * @throws ServerUnavailable naming what is missing
   */
  require(): Promise<void>
  /** Fills the empty folder of a new server: its configuration, an initialised data folder. */
  prepare(site: Site): Promise<void>
  /** The command whose process is the server itself: no shell and no launcher stays between. */
  command(site: Site): Command
  url(site: Site): string
  /** Talks once to a server of this kind, in its protocol; rejects within seconds without an answer. */
  ping(url: string): Promise<void>
}
