import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { TransportError } from '../../errors.ts'
import type { DestinationSpec, SubscriptionSpec } from '../../transport/transport.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { replyCodeOf } from '../transport-errors.ts'
import { checkDestinations } from './check.ts'
import { requirePartitions } from './count.ts'
import { type Ask, BIND_MS } from './declare.ts'
import type { DelayLadder } from './delay-ladder.ts'
import { ForeignPlaceCheck } from './foreign-place-check.ts'
import { exchangeOf } from './foreign-places.ts'
import { NewQueueSettling } from './new-queue-settling.ts'
import { declarationsOf, declareAll, existingCount, provisionDestination, settlingOf } from './provision.ts'

export interface ProvisionCalls {
  /** On its own channel. @throws TransportError */
  readonly ask: Ask
  /** @throws TransportError if the transport closes meanwhile */
  readonly pause: (durationMs: number) => Promise<void>
}

/** Creates destinations, or checks that they exist, and remembers them. */
export class Provisioner {
  readonly #options: ResolvedRabbitOptions
  readonly #ladder: DelayLadder
  readonly #logger: Logger
  readonly #broker: ProvisionCalls
  readonly #placeCheck: ForeignPlaceCheck
  /** Provisioned destinations, with all groups declared so far. */
  readonly #specs: Map<string, DestinationSpec> = new Map()
  /** True after the queues for delayed messages were declared. */
  #hasLadder = false

  constructor(options: ResolvedRabbitOptions, ladder: DelayLadder, logger: Logger, broker: ProvisionCalls) {
    this.#options = options
    this.#ladder = ladder
    this.#logger = logger
    this.#broker = broker
    this.#placeCheck = new ForeignPlaceCheck(options, logger)
  }

  /** A provisioned destination. */
  specOf(destination: string): DestinationSpec | undefined {
    return this.#specs.get(destination)
  }

  async provision(destinations: readonly DestinationSpec[]): Promise<void> {
    const { provision } = this.#options
    const { ask } = this.#broker
    if (provision === 'check') await this.#check(destinations)
    if (provision !== 'none') await this.#placeCheck.check(destinations, ask)
    const actual = provision === 'create' ? await this.#createAll(destinations) : destinations
    for (const spec of actual) this.#learn(provision === 'check' ? await this.#asCounted(spec) : spec)
  }

  /** Other processes may know more groups than this one: they bind their queues again before a message is sent. */
  async reprovision(destination: string): Promise<void> {
    const spec = this.#specs.get(destination)
    if (spec === undefined) return
    this.#hasLadder = false
    this.#logger.error(
      { destination, groups: spec.groups },
      'an exchange of RabbitMQ was deleted: it is made again with the bindings of these groups; other groups get messages again when ' +
        'a member of them runs',
    )
    await this.provision([spec])
    if (this.#options.provision === 'create') await this.#broker.pause(BIND_MS)
  }

  /** An existing binding is not changed. */
  async rebind({ destination, partitions, group }: SubscriptionSpec): Promise<void> {
    const spec = { name: destination, partitions, groups: group === null ? [] : [group] }
    const queues = declarationsOf(spec, this.#options).filter((each) => each.kind === 'queue')
    if (queues.length === 0) return
    try {
      await this.#broker.ask(`bind the queues of "${destination}" again`, async (channel) => {
        for (const { name, exchange, routingKey } of queues) await channel.bindQueue(name, exchange, routingKey)
      })
    } catch (error) {
      if (replyCodeOf(toError(error).cause) !== NOT_FOUND) throw error
      this.#logger.error(
        { destination, group },
        'an exchange or a queue of RabbitMQ was deleted: it is made again, with the bindings of this group',
      )
      await this.provision([this.#specs.get(destination) ?? spec])
    }
  }

  /** All new objects settle at the same time. @returns the actual destinations */
  async #createAll(destinations: readonly DestinationSpec[]): Promise<readonly DestinationSpec[]> {
    const settling = new NewQueueSettling(this.#broker.ask)
    const actual: DestinationSpec[] = []
    for (const spec of destinations) {
      for (const { queue, settled } of settlingOf(spec, this.#options)) {
        if (settled === undefined) await settling.beginClassic(queue, spec.name)
        else await settling.begin(queue, settled)
      }
      actual.push(await this.#create(spec))
    }
    const delayed = destinations.filter(({ delays }) => delays === true).map(({ name }) => name)
    if (delayed.length > 0) await this.#createDelays(delayed, settling)
    await settling.end(this.#broker.pause)
    if (delayed.length > 0) this.#hasLadder = true
    return actual
  }

  async #createDelays(names: readonly string[], settling: NewQueueSettling): Promise<void> {
    const ladder = this.#ladder
    if (!this.#hasLadder) {
      await settling.begin(ladder.topLevel, ladder.settled)
      await this.#broker.ask('provision the delay levels', (channel) => declareAll(channel, ladder.declarations()))
    }
    for (const name of names) {
      const due = ladder.dueDeclaration(name, exchangeOf(name, this.#options.places))
      await settling.begin(due.name, ladder.dueSettled(name))
      await this.#broker.ask(`provision delays of "${name}"`, (channel) => declareAll(channel, [due], name))
    }
  }

  /** @returns the actual destination: without declared partitions, it has the existing ones */
  async #create(spec: DestinationSpec): Promise<DestinationSpec> {
    const declare = (wanted: DestinationSpec): Promise<void> =>
      this.#broker.ask(`provision "${wanted.name}"`, (channel) => provisionDestination(channel, wanted, this.#options))
    try {
      await declare(spec)
      return spec
    } catch (error) {
      const existing = spec.assumed === true ? existingCount(toError(error).cause) : undefined
      if (existing === undefined) throw error
      const actual = { ...spec, partitions: existing }
      await declare(actual)
      return actual
    }
  }

  /** A subscription does not say again that another program declared its queues. */
  #check(destinations: readonly DestinationSpec[]): Promise<void> {
    const specs = destinations.map((spec) => ({
      ...spec,
      asFound: spec.asFound ?? this.#specs.get(spec.name)?.asFound,
    }))
    return checkDestinations(specs, this.#options, this.#ladder, this.#broker.ask)
  }

  /** Without declared partitions, it has the existing ones. A user who may not declare anything learns nothing about them. */
  async #asCounted(spec: DestinationSpec): Promise<DestinationSpec> {
    if (spec.assumed !== true) return spec
    try {
      await requirePartitions(this.#broker.ask, { ...spec, destination: spec.name, group: '' }, this.#options)
      return spec
    } catch (error) {
      const existing = error instanceof TransportError ? error.partitions : undefined
      if (existing === undefined) throw error
      return { ...spec, partitions: existing }
    }
  }

  /** A destination keeps all groups declared so far. */
  #learn(spec: DestinationSpec): void {
    const known = this.#specs.get(spec.name)
    const groups = new Set([...(known?.groups ?? []), ...spec.groups])
    const delays = spec.delays === true || known?.delays === true
    const deadLetters = spec.deadLetters === true || known?.deadLetters === true
    const asFound = spec.asFound ?? known?.asFound
    this.#specs.set(spec.name, { ...spec, groups: [...groups], delays, deadLetters, asFound })
  }
}

const NOT_FOUND = 404
