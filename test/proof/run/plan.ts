/** Plan of a run's faults, their order, victims and durations: all of it from the seed. */
import { plan } from '../../faults/harness/plan.ts'
import { Random } from '../../faults/harness/random.ts'
import { ROLES, type Role, type TransportName } from '../place.ts'
import { INSTANCES, LEASE_MS, SESSION_MS, SPARED_FROM } from '../settings.ts'
import { beginsAt } from './grants.ts'

export type ServerName = 'postgres' | 'redis' | 'rabbitmq' | 'kafka'

/** `stop`: PostgreSQL's immediate stop. */
export type Action = 'kill' | 'freeze' | 'stop'

export interface FaultKind {
  /** `kill-orders`. */
  readonly name: string
  readonly action: Action
  readonly target: { readonly role: Role } | { readonly server: ServerName }
}

export interface PlannedFault {
  /** Number of the fault, from 0. */
  readonly number: number
  readonly kind: FaultKind
  /** Number of done orders at which it begins. */
  readonly beginsAt: number
  /** Index of the victim among the processes of its role, from 0. */
  readonly victim: number
  /** Duration of the freeze, or of the outage until the restart. */
  readonly ms: number
}

/** The servers of a run; on PostgreSQL it is the broker too. */
export function serversOf(transport: TransportName): readonly ServerName[] {
  return transport === 'postgres' ? ['postgres', 'redis'] : ['postgres', 'redis', transport]
}

export function kindsOf(transport: TransportName): readonly FaultKind[] {
  const processes = ROLES.flatMap((role): FaultKind[] => [
    { name: `kill-${role}`, action: 'kill', target: { role } },
    { name: `freeze-${role}`, action: 'freeze', target: { role } },
  ])
  const servers = serversOf(transport).flatMap((server): FaultKind[] => [
    { name: `kill-${server}`, action: 'kill', target: { server } },
    { name: `freeze-${server}`, action: 'freeze', target: { server } },
  ])
  return [...processes, ...servers, { name: 'stop-postgres', action: 'stop', target: { server: 'postgres' } }]
}

export interface PlanOptions {
  readonly seed: number
  readonly transport: TransportName
  readonly orders: number
  readonly faults: number
}

/** Each kind once before any comes twice. */
export function planFaults({ seed, transport, orders, faults }: PlanOptions): PlannedFault[] {
  const kinds = kindsOf(transport)
  const order = plan(
    seed,
    kinds.map(({ name }) => name),
  )
  return Array.from({ length: faults }, (_, number) => {
    const name = order.next().value?.fault
    const kind = kinds.find((each) => each.name === name) as FaultKind
    const random = new Random(`${seed} fault ${number}`)
    const begins = beginsAt({ orders, faults }, number, random.between(10, 60) / 100)
    const spared = begins >= SPARED_FROM * orders && kind.action === 'kill' ? 1 : 0
    const victim = random.between(spared, INSTANCES - 1)
    return { number, kind, beginsAt: begins, victim, ms: lasts(kind, transport, random) }
  })
}

function lasts({ action, target }: FaultKind, transport: TransportName, random: Random): number {
  if (action !== 'freeze') return random.between(0, 'server' in target ? 1_500 : 800)
  // A frozen process loses all that it holds: leases, and its assignment in a Kafka group.
  const longest = transport === 'kafka' && 'role' in target ? SESSION_MS : LEASE_MS
  return longest + random.between(300, 2_000)
}
