/** A request of kafkajs with what reads its answer. */
export interface Protocol {
  readonly request: { readonly apiVersion: number; readonly encode: () => Promise<unknown> }
  readonly response: { readonly decode: (payload: Buffer) => Promise<unknown> }
}

export type MakeRequest<Args> = (args: Args) => Protocol

type LookupRequest = (apiKey: number, definition: unknown) => MakeRequest<never>

export interface Broker {
  lookupRequest: LookupRequest
}

interface BrokerFinder {
  findBroker(node: unknown): Promise<Broker>
}

export interface RequestChange<Args> {
  /** Key in Kafka's protocol. */
  readonly apiKey: number
  /** Called once for each broker. @returns what makes its requests from then on */
  readonly changeFor: () => (usual: MakeRequest<Args>) => MakeRequest<Args>
  /** The internals differ from kafkajs 2.2: names the missing part. May throw. */
  readonly onUnknown: (missing: string) => void
}

/** Changes requests of one kind, of one consumer or producer: those that go through these connections. */
export function changeRequests<Args>(cluster: object, change: RequestChange<Args>): void {
  const finder = cluster as BrokerFinder
  if (typeof finder.findBroker !== 'function') return change.onUnknown('the cluster of this one has no findBroker')
  const find = finder.findBroker.bind(cluster)
  const known = new WeakSet<Broker>()
  finder.findBroker = async (node) => {
    const broker = await find(node)
    if (!known.has(broker)) {
      changeRequestsOf(broker, change)
      known.add(broker)
    }
    return broker
  }
}

/** Changes requests of one kind to one broker. kafkajs assigns `lookupRequest` anew with each connection. */
export function changeRequestsOf<Args>(broker: Broker, { apiKey, changeFor, onUnknown }: RequestChange<Args>): void {
  if (typeof broker.lookupRequest !== 'function') return onUnknown('a broker of this one has no lookupRequest')
  let lookup = broker.lookupRequest
  const changed = changeFor()
  Object.defineProperty(broker, 'lookupRequest', {
    configurable: true,
    enumerable: true,
    get: (): LookupRequest => (key, definition) => {
      const make = lookup(key, definition)
      return key === apiKey ? changed(make as MakeRequest<Args>) : make
    },
    set: (next: LookupRequest) => {
      lookup = next
    },
  })
}
