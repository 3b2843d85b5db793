/** Command line of the idle process, and its report. */
export interface Order {
  /** A service with every part; its connections, with the drivers alone; nothing at all. */
  readonly side: 'service' | 'drivers' | 'nothing'
  readonly world: World
  readonly addresses: Readonly<Record<Server, string>>
  readonly idleMs: number
}

export type World = 'rabbitmq' | 'kafka' | 'postgres'
export type Server = 'rabbitmq' | 'kafka' | 'postgres' | 'redis'

export type IdleReport =
  | { readonly did: 'ready'; readonly importsMs: number; readonly startMs: number }
  | { readonly did: 'idle'; readonly rssMb: number; readonly heapMb: number; readonly cpu: number }
  | { readonly did: 'closed'; readonly closeMs: number }
