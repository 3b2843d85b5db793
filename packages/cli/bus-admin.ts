/** Sends events to instances over the bus, without their code: the operator joins the bus, sends, and leaves. */

import { randomUUID } from 'node:crypto'
import { createBinder } from 'concordat/binder'
import {
  type Acknowledgement,
  type Bus,
  type BusEvent,
  ConfigChanged,
  createBus,
  defineEvent,
  formatAddress,
  matchesAddress,
  PauseBinding,
  Refresh,
  ResumeBinding,
  SetLogLevel,
  Shutdown,
} from 'concordat/bus'
import { type Logger, SECOND, systemClock, validate } from 'concordat/core'
import { invalidOption, optionNames, refuseUnknown, requireInteger, type Transport } from 'concordat/extension'
import { checkName, requireNote, resolveSecrets, startedByUs } from 'concordat/operator'
import type { OperatorNote } from 'concordat/saga/coordinator'
import type { ClusterAdmin } from './cluster-admin.ts'
import type { Address, OperatorTrail, ReportWatchOptions } from './engine-types.ts'
import { type InstanceWatch, Lags, OPERATOR, servicesOf, viewOf } from './instances.ts'

/** How the services of a bus are configured. */
export interface OperatedBus {
  /** Same as the option of `createBus`. @default 'concordat.bus' */
  readonly channel?: string | undefined
  /** Same as the option of `createBus`: a signed bus drops unsigned messages. @default not signed */
  readonly secret?: string | readonly string[] | undefined
  /**
   * The cluster whose members the instances are, if the bus takes them from a membership. @default the instances report
   * themselves on the bus
   */
  readonly cluster?: string | undefined
}

/** Time limit for listening to instances. */
export interface BusListening {
  /**
   * Time limit for instances to report their presence. Use more for a slow broker. With a `cluster` there is no wait. @default
   * 2 seconds
   */
  readonly listenMs?: number | undefined
}

/** An event for some instances. */
export interface BusOrder extends OperatorNote, BusListening {
  /**
   * `refresh`, `set-log-level`, `pause-binding`, `resume-binding`, `config-changed`, `shutdown`, or the name of an event of the
   * services.
   */
  readonly event: string
  /** JSON. @default {} */
  readonly payload?: unknown
  /** `orders:**`, `orders:eu:*`, `orders:eu:orders-1`, `**`. */
  readonly to: string
  /** Time limit for the replies. @default 5 seconds */
  readonly timeoutMs?: number | undefined
  /** Reports the addressed instances, and sends nothing. @default true */
  readonly dryRun?: boolean | undefined
}

/** Outcome of an event. Addresses, sorted. */
export interface BusReport extends Acknowledgement {
  /** The event's full name. */
  readonly event: string
  readonly to: string
  readonly dryRun: boolean
  /** Addressed instances that were present before it was sent. */
  readonly addressed: readonly string[]
}

/** Reads from a bus, and sends to it. Sent events are recorded in `audit`. */
export interface BusAdmin {
  /**
   * The instances currently on the bus, which are asked to report.
   * @throws OperatorTransportMissing, TransportError if the bus's channels do not exist because no instance has joined it yet;
   * `bus.not_ready`
   */
  members(options?: BusListening): Promise<readonly Address[]>
  /**
   * Sends an event and waits for the replies; `missing` instances may or may not have handled it.
   * @throws the errors of `members`; `bus.address`, SchemaError, `core.tables_missing` before anything was sent; SendError,
   * OperatorOutcomeNotKept
   */
  send(order: BusOrder): Promise<BusReport>
  /**
   * All instances of all services on the bus, individually and as totals: they report until the watch, which has its own
   * connection, is closed. `to` selects some of them.
   * @throws the errors of `members`; `bus.address`
   */
  watch(options?: ReportWatchOptions): Promise<InstanceWatch>
}

const BUILT_IN: Readonly<Record<string, BusEvent>> = Object.freeze({
  refresh: Refresh,
  'set-log-level': SetLogLevel,
  'pause-binding': PauseBinding,
  'resume-binding': ResumeBinding,
  'config-changed': ConfigChanged,
  shutdown: Shutdown,
} as unknown as Record<string, BusEvent>)

const BUS_NAMES = optionNames<OperatedBus>({ channel: true, secret: true, cluster: true })
const ORDER_NAMES = optionNames<BusOrder>({
  event: true,
  payload: true,
  to: true,
  timeoutMs: true,
  listenMs: true,
  dryRun: true,
  by: true,
  reason: true,
})
const LISTENING_NAMES = optionNames<BusListening>({ listenMs: true })
const TIMEOUT_MS = 5 * SECOND
const LISTEN_MS = 2 * SECOND
const MAX_LISTEN_MS = 60 * SECOND
const READY_MS = 20 * SECOND
const MAX_TIMEOUT_MS = 10 * 60 * SECOND

/** @throws TypeError with the name of the option, without the secret */
export function requireBus(path: string, bus: OperatedBus): OperatedBus {
  refuseUnknown(path, bus, BUS_NAMES)
  if (bus.channel !== undefined) checkName(`${path}.channel`, bus.channel, 180)
  resolveSecrets(`${path}.secret`, bus.secret)
  if (bus.cluster !== undefined && typeof bus.cluster !== 'string')
    throw invalidOption(`${path}.cluster`, bus.cluster, 'the name of a cluster')
  return bus
}

export interface BusAdminHost {
  readonly open: () => Promise<Transport>
  readonly bus: OperatedBus
  readonly cluster: ClusterAdmin
  readonly trail: OperatorTrail
  readonly logger: Logger
}

export class TransportBusAdmin implements BusAdmin {
  readonly #host: BusAdminHost

  constructor(host: BusAdminHost) {
    this.#host = host
  }

  async members(options: BusListening = {}): Promise<readonly Address[]> {
    refuseUnknown('bus.members', options, LISTENING_NAMES)
    return this.#joined(listenMs('bus.members', options), othersOf)
  }

  async send(order: BusOrder): Promise<BusReport> {
    const path = 'bus.send'
    refuseUnknown(path, order, ORDER_NAMES)
    const note = requireNote(path, order)
    const timeoutMs = requireInteger(`${path}.timeoutMs`, order.timeoutMs ?? TIMEOUT_MS, 1, MAX_TIMEOUT_MS)
    const event = eventOf(`${path}.event`, order.event)
    const { to, payload = {}, dryRun = true } = order
    // An invalid pattern or payload must be reported without waiting for a broker.
    matchesAddress(to, 'nobody:here:yet')
    await validate(event.name, event.schema, payload)
    await this.#host.trail.requireReady()
    return this.#joined(listenMs(path, order), async (bus) => {
      const addressed = (await othersOf(bus)).map(formatAddress).filter((address) => matchesAddress(to, address))
      const asked = { event: event.name, to, addressed: addressed.toSorted() }
      if (dryRun) return { ...asked, dryRun, id: '', acked: [], failed: [], ignored: [], missing: [] }
      const deed = { part: 'bus' as const, action: event.name, target: targetOf(event, to, payload), note }
      const answers = await this.#host.trail.around(
        deed,
        async () => withoutSelf(bus, await bus.publish(event, payload, { to, ackTimeoutMs: timeoutMs })),
        ({ acked, failed, ignored, missing }) =>
          `${acked.length} did it, ${failed.length} failed, ${ignored.length} ignored it, ${missing.length} did not answer`,
      )
      return { ...asked, dryRun, ...answers }
    })
  }

  async watch(options: ReportWatchOptions = {}): Promise<InstanceWatch> {
    const { bus, transport, leave } = await this.#join()
    try {
      const reports = await bus.watch(options)
      const lags = new Lags(transport, systemClock)
      lags.follow(reports)
      const close = async (): Promise<void> => {
        lags.close()
        await reports.close()
        await leave()
      }
      return Object.freeze({
        view: () => viewOf(reports.instances(), lags.known),
        bindingsOf: (address: string) =>
          servicesOf(reports.instances()).find((each) => formatAddress(each.address) === address)?.bindings,
        trouble: () => reports.trouble(),
        close,
        [Symbol.asyncDispose]: close,
      })
    } catch (error) {
      await leave()
      throw error
    }
  }

  async #joined<T>(forMs: number, work: (bus: Bus) => Promise<T>): Promise<T> {
    const { bus, leave } = await this.#join()
    try {
      if (this.#host.bus.cluster === undefined) await systemClock.sleep(forMs)
      return await work(bus)
    } finally {
      await leave()
    }
  }

  async #join() {
    const { open, logger, cluster, bus: given } = this.#host
    const { channel, secret, cluster: name } = given
    const transport = await open()
    const bus = createBus({
      service: OPERATOR,
      instance: `${OPERATOR}-${randomUUID().slice(-12)}`,
      channel,
      secret,
      logger,
      ...(name !== undefined && { members: async () => memberAddresses(await cluster.members(name)) }),
    })
    const binder = createBinder({ service: OPERATOR, transport, bindings: bus.bindings, sends: bus.channels, logger })
    const leave = async (): Promise<void> => {
      await bus.close()
      await binder.close()
    }
    try {
      await startedByUs(() => binder.start())
      await bus.start(binder)
      await bus.ready({ timeoutMs: READY_MS, acks: true })
      return { bus, transport, leave }
    } catch (error) {
      await leave()
      throw error
    }
  }
}

/** Members of a membership without a service cannot be addressed. */
function memberAddresses(lines: Awaited<ReturnType<ClusterAdmin['members']>>) {
  return lines.flatMap(({ service, group, instance }) =>
    service === null ? [] : [{ service, group: group ?? undefined, instance }],
  )
}

async function othersOf(bus: Bus): Promise<readonly Address[]> {
  const others = (await bus.members()).filter((address) => formatAddress(address) !== bus.address)
  return others.toSorted((a, b) => (formatAddress(a) < formatAddress(b) ? -1 : 1))
}

/** `**` addresses the services: the operator is only on the bus for this moment. */
function withoutSelf({ address: own }: Bus, { id, acked, failed, ignored, missing }: Acknowledgement): Acknowledgement {
  const others = (addresses: readonly string[]): readonly string[] => addresses.filter((address) => address !== own)
  return {
    id,
    acked: others(acked),
    failed: failed.filter(({ address }) => address !== own),
    ignored: others(ignored),
    missing: others(missing),
  }
}

function listenMs(path: string, { listenMs: given = LISTEN_MS }: BusListening): number {
  return requireInteger(`${path}.listenMs`, given, 0, MAX_LISTEN_MS)
}

/**
 * Target for the audit. For a binding event it includes the binding; other events are left out, because their payload may be
 * secret.
 */
function targetOf(event: BusEvent, to: string, payload: unknown): string {
  if (event !== BUILT_IN['pause-binding'] && event !== BUILT_IN['resume-binding']) return to
  return `${to} ${(payload as { readonly binding: string }).binding}`
}

function eventOf(path: string, name: string): BusEvent {
  if (typeof name !== 'string') throw invalidOption(path, name, 'the name of an event')
  const short = name.startsWith('concordat.') ? name.slice('concordat.'.length) : name
  const builtIn = Object.hasOwn(BUILT_IN, short) ? BUILT_IN[short] : undefined
  return builtIn ?? defineEvent(name, { payload: ANYTHING })
}

const ANYTHING = {
  '~standard': { version: 1 as const, vendor: 'concordat', validate: (value: unknown) => ({ value }) },
}
