import type { Clock } from '../../../core/clock.ts'
import type { Receiver, TransportHost } from '../../transport/transport.ts'
import type { DriverLink, KafkaDriver, Member, MemberEvents, MemberSpec, Producer } from '../driver.ts'
import { AdminConnection } from './admin-connection.ts'
import type { KafkaConnection } from './connection-types.ts'
import { GroupMember } from './group/member.ts'
import { Cluster, type SilentBrokers } from './network/cluster.ts'
import type { ResolvedOptions } from './options.ts'
import { IdempotentProducer } from './producer.ts'

const CLIENT_ID = 'concordat'
/** Each request has its own deadline, which ends its connection. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

/** Kafka on the connections of `@platformatic/kafka` 2. */
export class PlatformaticDriver implements KafkaDriver {
  readonly #options: ResolvedOptions

  constructor(options: ResolvedOptions) {
    this.#options = options
  }

  attach(host: TransportHost): DriverLink {
    return new PlatformaticLink(this.#options, host)
  }
}

class PlatformaticLink implements DriverLink {
  readonly admin: AdminConnection
  readonly #options: ResolvedOptions
  readonly #host: TransportHost
  readonly #silent: SilentBrokers = new Map()

  constructor(options: ResolvedOptions, host: TransportHost) {
    this.#options = options
    this.#host = host
    this.admin = new AdminConnection(() => this.#openCluster(), host.clock, options.requestTimeoutMs)
  }

  openProducer(): Producer {
    const { clock } = this.#host
    return new IdempotentProducer({ ...this.#options, cluster: this.#openCluster(), clock })
  }

  createMember(spec: MemberSpec, receiver: Receiver, events: MemberEvents): Member {
    const { clock, logger } = this.#host
    const host = {
      settings: this.#options,
      clock,
      logger,
      cluster: this.#openCluster(),
      onAnswer: (error?: unknown) => events.onAnswer(error),
      onEnd: () => events.onEnd(),
    }
    return new GroupMember(spec, host, receiver)
  }

  #openCluster(): Cluster {
    return clusterOf(this.#options, this.#host.clock, this.#silent)
  }
}

/** Returns the connections for one user of them. */
function clusterOf(options: ResolvedOptions, clock: Clock, silent: SilentBrokers): Cluster {
  const { Connection, clientId = CLIENT_ID, tls, tlsServerName, sasl } = options.kafka
  const given = Object.entries({ tls, tlsServerName, sasl }).filter(([, value]) => value !== undefined)
  const settings = {
    ...Object.fromEntries(given),
    connectTimeout: options.connectTimeoutMs,
    requestTimeout: LONGEST_TIMEOUT_MS,
  }
  const makeConnection = (): KafkaConnection => new Connection(clientId, settings) as KafkaConnection
  return new Cluster({ ...options, makeConnection, silent }, clock)
}
