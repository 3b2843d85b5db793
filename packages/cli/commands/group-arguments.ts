/** Arguments of commands about a group, the known groups, and the instances that report. */
import { setTimeout as sleep } from 'node:timers/promises'
import { MINUTE, SECOND, systemClock } from 'concordat/core'
import { within } from 'concordat/extension'
import { describeSystem } from 'concordat/operator'
import type { DeadLetterPlace } from '../dead-letter-types.ts'
import type { InstancesView } from '../instances.ts'
import type { Operator } from '../operator.ts'
import { declaredPlaces, reportedPlaces } from '../system/dead-letter-places.ts'
import { BROKER_OPTIONS, DATABASE_OPTIONS, type Invocation, type OptionSpecs } from './command.ts'
import { type Declarations, declarationsHere, readDeclarations } from './read-declarations.ts'
import { several, whole } from './values.ts'

const LISTEN_MS = 3 * SECOND
/** Time limit for joining and leaving the bus; only a transport that never answers exceeds it. */
const BUS_MS = 1 * MINUTE

/** Positional arguments of a command about one group. */
export const PLACE = ['CHANNEL', 'GROUP'] as const
export const PLACE_OPTIONS: OptionSpecs = {
  partitions: { type: 'string', hint: 'N', about: 'as the channel declares them (default: as the broker tells)' },
  ...BROKER_OPTIONS,
  ...DATABASE_OPTIONS,
}

/** Reads CHANNEL and GROUP. @throws UsageError */
export function placeOf(invocation: Invocation): DeadLetterPlace {
  const [channel, group] = several(invocation, PLACE)
  return { channel, group, partitions: whole(invocation.values, 'partitions') }
}

/**
 * Groups beside those of the log in the database: those that a module declares, otherwise those that instances report over the
 * bus.
 * @param module `undefined` for `concordat.config.ts` here
 * @param instances as `instancesOn` returned; @default listens, unless a log in the database has all groups
 * @throws UsageError when the module cannot be read
 */
export async function knownPlaces(
  operator: Operator,
  module: string | undefined,
  instances?: InstancesView,
): Promise<readonly DeadLetterPlace[]> {
  const declared = await declarationsOf(module)
  if (declared !== undefined) return declaredPlaces(describeSystem(declared.services))
  if (instances === undefined && (await operator.groups()).length > 0) return []
  const view = instances ?? (await instancesOn(operator))
  return view === undefined ? [] : reportedPlaces(view)
}

/** The declarations of `module`; `undefined` when it is not given and no configuration file is here. */
export function declarationsOf(module: string | undefined): Promise<Declarations | undefined> {
  return module === undefined ? declarationsHere() : readDeclarations(module)
}

/** Whether a broker has groups beside the log in the database. */
export function namesBroker({ values, env }: Invocation): boolean {
  return ['kafka', 'rabbitmq'].some((name) => values[name] !== undefined || env[`CONCORDAT_${name.toUpperCase()}`])
}

/**
 * Reports of instances within the time limit; `undefined` without a bus, while it is unreachable, and without a named broker.
 */
export async function instancesOn({ bus }: Operator, listenMs = LISTEN_MS): Promise<InstancesView | undefined> {
  const listen = async (): Promise<InstancesView | undefined> => {
    await using watched = await bus.watch({ everyMs: 1 * SECOND })
    await sleep(listenMs)
    return watched.trouble() === undefined ? watched.view() : undefined
  }
  return within(systemClock, BUS_MS + listenMs, listen(), undefined).catch(() => undefined)
}
