import type { SinkAddress } from '../harness/sinks.ts'

/** Where a worker works in one episode. */
export interface Place {
  /** The file of its history. */
  readonly history: string
  readonly process: string
  readonly seed: string
  readonly storeUrl: string
  readonly prefix: string
  /** The lock that it is all about. */
  readonly key: string
  readonly sinks: SinkAddress
  readonly broken: string | undefined
}

/** What workers are told. Each suite says what `settings` are. */
export type Order =
  | { readonly do: 'open'; readonly place: Place; readonly settings: unknown }
  | { readonly do: 'go' }
  /** Begin nothing new until `go`. */
  | { readonly do: 'hold off' }
  /** Stay in the next section, writing, until `leave`. */
  | { readonly do: 'linger' }
  | { readonly do: 'leave' }
  /** Block the event loop. */
  | { readonly do: 'block'; readonly ms: number }
  /** Finish what runs, give up waiting, tell `stopped`. */
  | { readonly do: 'stop' }
  /** Close everything, tell `closed`; ready for another `open`. */
  | { readonly do: 'close' }
