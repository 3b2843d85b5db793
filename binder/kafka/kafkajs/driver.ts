import type { Receiver, TransportHost } from '../../transport/transport.ts'
import type { DriverLink, KafkaDriver, Member, MemberEvents, MemberSpec, Producer } from '../driver.ts'
import { AdminConnection } from './admin-connection.ts'
import { provideCodecs } from './codecs.ts'
import { createConsumer } from './create-consumer.ts'
import { gatedAssigner } from './join-gate-assigner.ts'
import type { KafkaOptions } from './options.ts'
import { patchDeadSockets } from './patches/dead-socket-listeners.ts'
import { patchTornAnswers } from './patches/torn-answers.ts'
import { ProducerSlot } from './producer-slot.ts'
import { type ConsumerHost, KafkaSubscription } from './subscription.ts'

/** Time limit of a consumer's first fetch, which the broker answers at once. */
const FIRST_FETCH_MS = 1_000
const BLIND_TO_REMADE =
  'kafkajs does not tell one topic from another of the same name: when a topic is deleted and made again while its group runs, the ' +
  'group goes on at its old offset and skips what lies before it. Stop the members first, or use platformaticTransport'

/** Kafka through a kafkajs 2.2 client. */
export class KafkajsDriver implements KafkaDriver {
  readonly #options: KafkaOptions

  constructor(options: KafkaOptions) {
    this.#options = options
  }

  attach(host: TransportHost): DriverLink {
    patchTornAnswers()
    patchDeadSockets()
    provideCodecs()
    return new KafkajsLink(this.#options, host)
  }
}

class KafkajsLink implements DriverLink {
  readonly admin: AdminConnection
  readonly #options: KafkaOptions
  readonly #host: TransportHost
  #hasWarned = false

  constructor(options: KafkaOptions, host: TransportHost) {
    this.#options = options
    this.#host = host
    this.admin = new AdminConnection(options, host.clock)
  }

  openProducer(): Producer {
    return new ProducerSlot(this.#options, this.#host.clock)
  }

  createMember(spec: MemberSpec, receiver: Receiver, events: MemberEvents): Member {
    const { clock, logger } = this.#host
    if (spec.startAt === undefined && !this.#hasWarned) {
      this.#hasWarned = true
      logger.info({ topic: spec.topic }, BLIND_TO_REMADE)
    }
    const host: ConsumerHost = {
      options: this.#options,
      clock,
      logger,
      createConsumer: (each, { beforeJoin, onFetched, onShare, onAsk }) =>
        createConsumer(this.#options, each, gatedAssigner(clock, beforeJoin, onShare), onFetched, onAsk),
      firstFetchMs: FIRST_FETCH_MS,
      onAnswer: (error?: unknown) => events.onAnswer(error),
      onEnd: () => events.onEnd(),
    }
    return new KafkaSubscription(spec, host, receiver)
  }
}
