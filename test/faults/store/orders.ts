import type { SinkAddress } from '../harness/sinks.ts'

/** Description of a worker's place in one episode. */
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

/** Orders for workers. Each suite defines its `settings`. */
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
  /** Finish running work, give up waiting, report `stopped`. */
  | { readonly do: 'stop' }
  /** Close everything, report `closed`; ready for another `open`. */
  | { readonly do: 'close' }
